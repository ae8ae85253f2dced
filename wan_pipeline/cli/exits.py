"""The exit statuses, and the error that is somebody's wrong use of a command."""

from __future__ import annotations

ALL_MADE = 0
FAILED = 1  # a shot was not made
WRONG_USE = 2  # wrong use or configuration
UNFORESEEN = 70  # sysexits' EX_SOFTWARE
INTERRUPTED = 130  # 128 + SIGINT, as shells say it
TERMINATED = 143  # 128 + SIGTERM


class WrongUseError(RuntimeError):
    """The command cannot do what it was asked to. The message says why, and what to ask for instead."""
