"""The command line: `wan-pipeline …`. One file for each command; what several of them need lies in files of its own.

What belongs here: arguments, output, exit statuses. What does not: anything that decides about shots, providers or money.
Heavy packages are imported inside the commands, so that `--help` comes at once.
"""

from __future__ import annotations

from wan_pipeline.cli.app import main

__all__ = ["main"]
