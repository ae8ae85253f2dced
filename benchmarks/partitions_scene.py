"""An installation with very many finished shots, put in place in seconds: the scene of benchmarks/partitions.py.

One shot is really made (`wan-pipeline run` against the simulator as a server). What that left behind is copied for every
other one: its files in the bucket, its rows in the ledger and the index, its events and its partition in Dagster's storage.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sqlite3
import subprocess
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks import arena

_TEMPLATE = "made/s000/shot000000"
_LATENCY_S = 0.5
_IN_FLIGHT = 50
_AGE = timedelta(days=40)
_NAMES_PER_FILE = 50_000  # ext4 has room for 65,000


@dataclass(frozen=True)
class Scene:
    """An installation below `home`, and the environment of its processes."""

    home: Path
    environment: Mapping[str, str]
    shots: int

    @property
    def bucket(self) -> Path:
        return self.home / "bucket"

    def command(self, *arguments: str) -> arena.Usage:
        """`wan-pipeline` with these arguments, to its end. Raises RuntimeError where that is no success."""
        log = self.home / "command.log"
        usage = arena.Child([*arena.WAN_PIPELINE, *arguments], self.environment, output=log).wait()
        if usage.exit_status != 0:
            raise RuntimeError(
                f"wan-pipeline {' '.join(arguments)} ended with {usage.exit_status}:\n{log.read_text()[-4000:]}"
            )
        return usage

    def add_new(self, name: str, count: int) -> list[str]:
        """So many new shots below `inbox/<name>/`; their keys."""
        return _write_inputs(self.bucket, [f"{name}/new{number:05d}" for number in range(count)])


@contextmanager
def scene(home: Path, shots: int, **settings: str) -> Generator[Scene]:
    """The installation with so many finished shots, below this folder; the simulator runs as long as the block."""
    bucket = home / "bucket"
    bucket.mkdir(parents=True, exist_ok=True)
    with (
        arena.simulator(home / "simulator", _LATENCY_S, 0.3, None) as url,
        arena.served(bucket) as public,
    ):
        made = Scene(home, arena.settings(home, url, public, _IN_FLIGHT, **settings), shots)
        if (bucket / "inbox").exists():  # as an earlier block left it
            yield made
            return
        (bucket / "inbox").mkdir()
        defaults = "model: wavespeed/wan-2.6-i2v-flash\nprompt: It moves.\nduration: 5\n"
        (bucket / "inbox" / "_defaults.yaml").write_text(defaults)
        _write_inputs(bucket, [_TEMPLATE])
        made.command("run")
        copies = [f"made/s{number // 1000:03d}/shot{number:06d}" for number in range(1, shots)]
        _write_inputs(bucket, copies)
        _write_videos(bucket, copies)
        hashes = {key: hashlib.sha256((bucket / f"inbox/{key}.png").read_bytes()).hexdigest() for key in copies}
        _copy_ledger(home / "home" / "ledger.sqlite", copies, hashes)
        _copy_catalog(home / "home" / "dagster" / "history" / "runs" / "index.db", copies)
        _index(made)
        yield made


def _write_inputs(bucket: Path, keys: Sequence[str]) -> list[str]:
    """A picture for each, of which the bytes differ by the key that they end in."""
    data = io.BytesIO()
    Image.new("RGB", (640, 360), (40, 80, 120)).save(data, "PNG")
    picture = data.getvalue()
    for folder in sorted({(bucket / f"inbox/{key}").parent for key in keys}):
        folder.mkdir(parents=True, exist_ok=True)
    for key in keys:
        (bucket / f"inbox/{key}.png").write_bytes(picture + key.encode())
    return list(keys)


def _write_videos(bucket: Path, keys: Sequence[str]) -> None:
    files = {file.name: file for file in (bucket / "videos" / _TEMPLATE).iterdir()}
    for number, key in enumerate(keys):
        folder = bucket / "videos" / key
        folder.mkdir(parents=True)
        for name, file in files.items():
            if number % _NAMES_PER_FILE == 0:
                (folder / name).write_bytes(file.read_bytes())
                files[name] = folder / name
            else:
                os.link(files[name], folder / name)


def _copy_ledger(path: Path, keys: Sequence[str], hashes: Mapping[str, str]) -> None:
    """The template's job, attempt, entries and take, for every key; inputs and fingerprints are the key's own."""
    with _bulk(path) as ledger:
        (job,) = map(_long_ago, _rows(ledger, "jobs"))
        (attempt,) = map(_long_ago, _rows(ledger, "attempts"))
        (take,) = map(_long_ago, _rows(ledger, "takes"))
        entries = [_long_ago(entry) for entry in _rows(ledger, "money_entries")]
        (old_input,) = json.loads(job["inputs"])
        old_hash = old_input["sha256"]
        requests = _request_hashes(job, old_hash, hashes)
        each = list(enumerate(keys, 1))
        _insert(
            ledger,
            "jobs",
            (
                {
                    **job,
                    "id": f"{number:032x}",
                    "shot": key,
                    "request_hash": requests[key],
                    "fingerprint": hashlib.sha256(f"{requests[key]}:1".encode()).hexdigest(),
                    "arguments": job["arguments"].replace(old_hash, hashes[key]),
                    "inputs": json.dumps([{**old_input, "key": f"inbox/{key}.png", "sha256": hashes[key]}]),
                    "provider_job_id": f"copied-{number}",
                    "attempt_id": f"{number:032x}",
                    **{
                        name: str(job[name]).replace(_TEMPLATE, key)
                        for name in ("video_uri", "video_key", "poster_uri")
                    },
                }
                for number, key in each
            ),
        )
        _insert(
            ledger, "attempts", ({**attempt, "id": f"{number:032x}", "job_id": f"{number:032x}"} for number, _ in each)
        )
        _insert(
            ledger,
            "takes",
            (
                {
                    **take,
                    "shot": key,
                    "job_id": f"{number:032x}",
                    "request_hash": requests[key],
                    "video_uri": str(take["video_uri"]).replace(_TEMPLATE, key),
                }
                for number, key in each
            ),
        )
        # SQLite's trigger refuses changes of entries, not new ones.
        for entry in entries:
            _insert(ledger, "money_entries", ({**entry, "id": None, "job_id": f"{number:032x}"} for number, _ in each))


def _long_ago(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row as of a job that was over forty days ago: what looks at what has changed of late has nothing to do with it."""

    def earlier(moment: str) -> str:
        return (datetime.fromisoformat(moment) - _AGE).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"

    moments = [name for name, value in row.items() if (name == "at" or name.endswith("_at")) and value is not None]
    return {**row, **{name: earlier(row[name]) for name in moments}}


def _request_hashes(job: Mapping[str, Any], old_hash: str, hashes: Mapping[str, str]) -> dict[str, str]:
    """As providers.base.request_hash computes them, from the frozen request of the template."""
    arguments = json.loads(job["arguments"])
    text = json.dumps([job["provider"], job["model"], arguments], sort_keys=True, ensure_ascii=False)
    if hashlib.sha256(text.encode()).hexdigest() != job["request_hash"]:
        raise RuntimeError("a request's hash is not made as this benchmark believes")
    return {key: hashlib.sha256(text.replace(old_hash, sha256).encode()).hexdigest() for key, sha256 in hashes.items()}


def _copy_catalog(path: Path, keys: Sequence[str]) -> None:
    """The template's partition, materializations and checks, for every key; planned ones name no partition of their own."""
    with _bulk(path) as catalog:
        _insert(catalog, "dynamic_partitions", ({"partitions_def_name": "shots", "partition": key} for key in keys))
        # What Dagster's pages read of a partition. The check evaluations lie in a table of their own, below.
        kinds = ("ASSET_MATERIALIZATION", "ASSET_MATERIALIZATION_PLANNED")
        of_template = [row for row in _rows(catalog, "event_logs") if row["partition"] == _TEMPLATE]
        events = [row for row in of_template if row["dagster_event_type"] in kinds]
        tags = _rows(catalog, "asset_event_tags")
        (first,) = catalog.execute("SELECT max(id) + 1 FROM event_logs").fetchone()
        new_events: list[dict[str, Any]] = []
        new_tags: list[dict[str, Any]] = []
        for key in keys:
            for event in events:
                number = first + len(new_events)
                new_events.append(
                    {**event, "id": number, "partition": key, "event": event["event"].replace(_TEMPLATE, key)}
                )
                new_tags += [{**tag, "id": None, "event_id": number} for tag in tags if tag["event_id"] == event["id"]]
        _insert(catalog, "event_logs", new_events)
        _insert(catalog, "asset_event_tags", new_tags)
        checks = [row for row in _rows(catalog, "asset_check_executions") if row["partition"] == _TEMPLATE]
        _insert(
            catalog,
            "asset_check_executions",
            (
                {
                    **check,
                    "id": None,
                    "partition": key,
                    "evaluation_event": (check["evaluation_event"] or "").replace(_TEMPLATE, key),
                }
                for key in keys
                for check in checks
            ),
        )


def _index(made: Scene) -> None:
    """The shot index as after a complete tick: everything was taken up and has come to an end."""
    code = (
        "from datetime import UTC, datetime, timedelta\n"
        "from wan_pipeline.cli.opened import open_installation\n"
        "from wan_pipeline.defs.take_up import seen, update_index\n"
        "from wan_pipeline.spend import totals\n"
        "with open_installation() as opened:\n"
        "    shots, then = opened.discover(), datetime.now(UTC) - timedelta(days=50)\n"
        "    update_index(opened.ledger.index, shots, then, simulated=False)\n"
        "    kept = [seen(shot, simulated=False) for shot in shots]\n"
        "    keys, versions = [item.key for item in kept], [item.version for item in kept]\n"
        "    opened.ledger.index.mark_taken_up(keys, versions, then)\n"
        "    opened.ledger.index.mark_finished(keys, versions, then)\n"
        "    with opened.ledger.engine.begin() as connection:\n"
        "        totals.rebuild(connection)\n"
    )
    subprocess.run([arena.WAN_PIPELINE[0], "-c", code], env=dict(made.environment), check=True)


@contextmanager
def _bulk(path: Path) -> Generator[sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        yield connection
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.close()


def _rows(connection: sqlite3.Connection, table: str) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]


def _insert(connection: sqlite3.Connection, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    every = iter(rows)
    first = next(every, None)
    if first is None:
        return
    names = list(first)
    marks = ", ".join("?" * len(names))
    statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})"
    connection.execute(statement, tuple(first.values()))
    connection.executemany(statement, (tuple(row[name] for name in names) for row in every))
