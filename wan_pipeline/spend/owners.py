"""Who holds a job, and whether that one is still alive.

A holder is one Ledger from its first claim to its release; a process that runs one batch after another, or several at
once, has several. What belongs here: identity and life signs. What does not: what becomes of a dead holder's jobs.

- In this process: alive while its Ledger is open (known at once).
- On this host (same boot, same pid namespace): alive while its process is, told from a later one with its pid by when it
  started (known at once, kill -9 included; a zombie is dead).
- Elsewhere: alive while its last heartbeat is younger than HEARTBEAT_STALE.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import weakref
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from uuid import uuid4
from weakref import WeakValueDictionary

import psutil
import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection, RowMapping, Transaction

from wan_pipeline.spend.tables import owners

HEARTBEAT_EVERY_S = 10.0
HEARTBEAT_STALE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Owner:
    """The identity of a process: enough for another one to find out whether it still runs."""

    host: str
    host_id: str
    pid: int
    process_started: str

    @classmethod
    def this_process(cls) -> Owner:
        pid = os.getpid()
        return cls(socket.gethostname(), _host_id(), pid, _process_started(pid) or "unknown")


_KNOWN = sa.select(owners.c.id).where(owners.c.id == bindparam("of_id"))


class Holder:
    """This Ledger's identity in the ledger: a row written at the first claim, and a fresh one after a release."""

    def __init__(self, owner: Owner | None) -> None:
        self._given = owner
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._id = uuid4().hex
        self.is_mark = False
        self._written = ""  # the id whose row is known to be committed
        self._writing: weakref.ref[Transaction] | None = None  # the transaction that has inserted it last

    @property
    def id(self) -> str:
        """The present id; it is in the database once a claim has taken something with it."""
        with self._lock:
            if os.getpid() != self._pid:  # forked: the child is somebody else
                self._fresh()
            return self._id

    def register(self, connection: Connection, now: datetime) -> str:
        """The id, after making sure that its row is there. Part of the caller's transaction, which may be undone: so it
        is looked for until another transaction has seen it there."""
        owner_id = self.id
        if owner_id == self._written:
            return owner_id
        transaction = connection.get_transaction()
        if connection.execute(_KNOWN, {"of_id": owner_id}).first() is not None:
            if transaction is not None and (self._writing is None or self._writing() is not transaction):
                self._written = owner_id
        else:
            self._writing = None if transaction is None else weakref.ref(transaction)
            owner = self._given or Owner.this_process()
            connection.execute(
                owners.insert().values(
                    id=owner_id,
                    host=owner.host,
                    host_id=owner.host_id,
                    pid=owner.pid,
                    process_started=owner.process_started,
                    registered_at=now,
                    heartbeat_at=now,
                )
            )
        _open_here[owner_id] = self
        return owner_id

    @property
    def may_be_registered(self) -> bool:
        return self.id in _open_here

    def heartbeat(self, connection: Connection, now: datetime) -> None:
        connection.execute(owners.update().where(owners.c.id == self.id).values(heartbeat_at=now))

    def release(self, connection: Connection, now: datetime) -> None:
        """Its jobs are anybody's. A later claim registers anew."""
        connection.execute(
            owners.update().where(owners.c.id == self.id, owners.c.released_at.is_(None)).values(released_at=now)
        )

    def released(self) -> None:
        """It holds nothing any more, whether or not the database could be told."""
        self.is_mark = False
        with self._lock:
            self._fresh()

    def _fresh(self) -> None:
        _open_here.pop(self._id, None)
        self._id, self._pid = uuid4().hex, os.getpid()


# This process's holders; one that was dropped without a release is gone from here with its Ledger. What a fork leaves in
# the child are the parent's, whose rows have the parent's pid.
_open_here: WeakValueDictionary[str, Holder] = WeakValueDictionary()


def is_alive(connection: Connection, owner_id: str, now: datetime) -> bool:
    """Does this holder still run? What cannot be found out for sure counts as alive while its heartbeat is fresh."""
    row = connection.execute(sa.select(owners).where(owners.c.id == owner_id)).mappings().first()
    if row is None or row["released_at"] is not None:
        return False
    return _runs(owner_id, row, now)


def is_alone(connection: Connection, owner_id: str, now: datetime) -> bool:
    """Is no other holder at work? One that is has bought something, or waits for a place, and its heart has beaten lately.
    A mark of a run in this process buys nothing; one elsewhere stands for a process that may."""
    others = sa.select(owners).where(
        owners.c.id != owner_id, owners.c.released_at.is_(None), owners.c.heartbeat_at > now - HEARTBEAT_STALE
    )
    rows = connection.execute(others).mappings()
    return not any(not _marks_here(row["id"]) and _runs(row["id"], row, now) for row in rows)


def _marks_here(owner_id: str) -> bool:
    holder = _open_here.get(owner_id)
    return holder is not None and holder.is_mark


def let_go_at(connection: Connection, owner_id: str) -> datetime | None:
    """When this holder said that it has ended; None where it has not, or is not known."""
    return connection.execute(sa.select(owners.c.released_at).where(owners.c.id == owner_id)).scalar()


def _runs(owner_id: str, row: RowMapping, now: datetime) -> bool:
    if row["host_id"] == _host_id():
        pid: int = row["pid"]
        started = _process_started(pid)
        if started is None or (started != "unknown" and started != row["process_started"]):
            return False
        if started != "unknown":
            return pid != os.getpid() or owner_id in _open_here
    heartbeat: datetime = row["heartbeat_at"]
    return now - heartbeat < HEARTBEAT_STALE


@cache
def _host_id() -> str:
    """Where a pid of this process means what it means here: one boot of one kernel, one pid namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # not Linux: no pid namespaces; the boot's second tells one boot from the next
        return f"{socket.gethostname()} {sys.platform} {int(psutil.boot_time())}"


def _process_started(pid: int) -> str | None:
    """When the process started, as a text to compare; None: there is none; "unknown": there is one, hidden from us."""
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        if sys.platform == "linux":
            # In clock ticks since the boot: the wall clock, which may be set, has no part in it. The name in
            # parentheses may hold spaces; the start is the 22nd field, the 20th after the name.
            return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
        return f"{process.create_time():.2f}"
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return None
    except (psutil.AccessDenied, PermissionError):
        return "unknown"
