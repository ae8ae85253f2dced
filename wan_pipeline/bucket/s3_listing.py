"""A page of a listing, read quickly: botocore's own reading takes most of a large listing's time.

What belongs here: the objects of a ListObjectsV2 answer. Everything else in it, errors, and whatever looks unusual is left
to botocore. Works by botocore's event `before-parse`.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from datetime import datetime
from typing import Any
from xml.etree import ElementTree

EVENT = "before-parse.s3.ListObjectsV2"
HANDLER = "wan-pipeline-listing"
_WANTED = frozenset({"Key", "LastModified", "ETag", "Size"})


def read_objects(
    response_dict: MutableMapping[str, Any], customized_response_dict: MutableMapping[str, Any], **_: object
) -> None:
    """Takes the objects out of the answer's body, and gives them as botocore would, but for what nobody here asks for
    (storage class, owner)."""
    if response_dict.get("status_code") != 200:
        return
    try:
        root = ElementTree.fromstring(response_dict["body"])  # noqa: S314  from the bucket, and botocore reads it the same way
        namespace = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
        found = root.findall(f"{namespace}Contents")
        names = {f"{namespace}{name}": name for name in _WANTED}
        objects = [_object({names[part.tag]: part.text for part in item if part.tag in names}) for item in found]
    except (ElementTree.ParseError, KeyError, ValueError, TypeError):
        return
    if not objects:
        return
    for item in found:
        root.remove(item)
    response_dict["body"] = ElementTree.tostring(root)
    customized_response_dict["Contents"] = objects


def _object(texts: Mapping[str, str | None]) -> dict[str, Any]:
    """Raises KeyError, ValueError or TypeError for anything unusual."""
    key, moment, size = texts["Key"], texts["LastModified"], texts["Size"]
    if key is None or moment is None or size is None:
        raise ValueError("an object without a name")
    modified_at = datetime.fromisoformat(moment)
    if modified_at.tzinfo is None:
        raise ValueError("a moment without its zone")
    return {"Key": key, "LastModified": modified_at, "ETag": texts["ETag"] or "", "Size": int(size)}
