"""What goes wrong with the ledger by somebody's mistake in this program, as opposed to a provider's or a user's."""

from __future__ import annotations


class LedgerError(RuntimeError):
    """A step that the ledger does not allow. The message names the job, its state and what was wanted."""


class UnknownJobError(LedgerError):
    """There is no such job."""


class NotHolderError(LedgerError):
    """Another process has taken the job over, because this one seemed gone: leave it to that one."""
