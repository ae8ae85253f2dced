"""The tables of the inbox as it was last listed. Nothing of the ledger: losing them costs one whole listing."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import BigInteger, Column, Index, Table

from wan_pipeline.spend.tables import BucketKey, UtcTime, metadata

inbox_objects = Table(
    "inbox_objects",
    metadata,
    Column("key", BucketKey, primary_key=True),
    Column("etag", sa.Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("modified_at", UtcTime, nullable=False),
)

named_inputs = Table(
    # Which yaml names which key as an input. An image that one names is no shot of its own.
    "named_inputs",
    metadata,
    Column("file", sa.Text, primary_key=True),
    Column("named", sa.Text, primary_key=True),
    Column("composed", sa.Text, nullable=False),  # `named` in Unicode's form NFC
    Index("ix_named_inputs_composed", "composed"),
)

inbox_listings = Table(
    # How far the inbox of a bucket is known.
    "inbox_listings",
    metadata,
    Column("bucket", sa.Text, primary_key=True),
    Column("made_by", sa.Text),  # digest of what the shots of the index were made with; NULL: not all objects are in it
    Column("fresh_at", UtcTime),  # the index knows of everything that was in the bucket then
    Column("listed_at", UtcTime),  # when the last listing that has come to its end began
    Column("began_at", UtcTime),  # of one that has not
    Column("reached", sa.Text),  # the last key that it has read
)
