"""What every part of the ledger's door stands on: the database, this holder, and the two kinds of transaction.

What belongs here: how a step or a question becomes a transaction. What does not: any step, any question.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from sqlalchemy.engine import Connection

from wan_pipeline.spend import totals
from wan_pipeline.spend.database import Database
from wan_pipeline.spend.owners import Holder, Owner
from wan_pipeline.spend.transitions import Step

T = TypeVar("T")

FOLD_EVERY = 64  # steps: so many changes of the budgets' totals are added up one by one at most, for each process
CLAIMS = "claims"  # the lock of whoever finds room in a budget or at a provider, or gives a job its provider's id


class Transacting:
    """`now` is for tests everywhere; None is the present by the ledger's clock."""

    def __init__(self, database: Database, owner: Owner | None = None) -> None:
        self._database = database
        self._holder = Holder(owner)
        self._steps = itertools.count(1)

    def now(self) -> datetime:
        """The ledger's time: PostgreSQL's server's, so that all hosts agree; this host's with SQLite; or that of the clock
        that it was opened with."""
        return self._read(self._database.now)

    def _read(self, question: Callable[[Connection], T]) -> T:
        with self._database.read() as connection:
            return question(connection)

    def _step(self, work: Callable[[Step], T], now: datetime | None, lock: str | None = None) -> T:
        fold = next(self._steps) % FOLD_EVERY == 0

        def transaction(connection: Connection) -> T:
            if lock is None:
                moment = now or self._database.now(connection)
            elif now is None:  # after the lock: claims are dated in the order in which they happen
                moment = self._database.locked_now(connection, lock)
            else:
                self._database.lock(connection, lock)
                moment = now
            done = work(Step(connection, moment, self._holder))
            if fold:
                totals.fold(connection)
            return done

        return self._database.write(transaction)
