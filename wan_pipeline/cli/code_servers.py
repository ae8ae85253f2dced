"""A watch over `dagster dev`'s code servers: one whose inside was killed is ended, so that Dagster starts it anew.

Measured with dagster 1.13.27: `dagster dev` starts `dagster code-server start`, and that one `dagster api grpc`, which has
the code. Where the outer one is killed, it is started anew within seconds. Where the inner one alone is (the likelier victim
of a machine that runs out of memory), nothing starts it: every tick of the sensors fails until a person presses "Reload
definitions". Runs under way are processes of their own, and go on either way.

What belongs here: noticing that. What does not: Dagster's webserver and daemon, with which `dagster dev` ends itself.
"""

from __future__ import annotations

import logging
import threading
import time

import psutil

_EVERY_S = 2.0
_WITHOUT_FOR_S = 10.0  # a reload replaces the inner process, the new one first; and nothing is hurt by waiting
_log = logging.getLogger(__name__)


def watch_code_servers() -> None:
    """From now on, in a thread: over the children of this process."""
    threading.Thread(target=_watch, name="wan-code-servers", daemon=True).start()


def _watch() -> None:
    watch = CodeServers()
    while True:
        time.sleep(_EVERY_S)
        try:
            watch.look(psutil.Process(), time.monotonic())
        except psutil.Error:  # a process that ended while it was looked at; the next look sees
            continue


class CodeServers:
    """What was seen of the code servers. One that has never had an inside is still starting, and left alone."""

    def __init__(self) -> None:
        self._had_inside: set[psutil.Process] = set()
        self._without_since_s: dict[psutil.Process, float] = {}

    def look(self, parent: psutil.Process, now_s: float) -> list[psutil.Process]:
        """Ends the code servers below `parent` that have been without their inside for long; gives those."""
        ended: list[psutil.Process] = []
        for server in _with_words(parent, "code-server", "start"):
            if _with_words(server, "api", "grpc"):
                self._had_inside.add(server)
                self._without_since_s.pop(server, None)
            elif server in self._had_inside:
                since_s = self._without_since_s.setdefault(server, now_s)
                if now_s - since_s >= _WITHOUT_FOR_S:
                    _log.warning("code server %s has lost the process with its code: it is started anew", server.pid)
                    self._had_inside.discard(server)
                    server.kill()
                    ended.append(server)
        return ended


def _with_words(parent: psutil.Process, *words: str) -> list[psutil.Process]:
    """The living processes below `parent` whose command line has these words."""
    found: list[psutil.Process] = []
    for process in parent.children(recursive=True):
        try:
            if process.status() != psutil.STATUS_ZOMBIE and set(words) <= set(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found
