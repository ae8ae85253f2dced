"""The mark of a run: which process executes it, so that any host can find out whether that one is still there.

Each run of ours has a holder of its own in the ledger's table of owners, apart from the one that holds its jobs (that one
is released with its batch), and carries its id as a tag. On the same boot of the same host the process itself is looked
at, so that a kill -9 is known at once; from elsewhere, and after a reboot, the holder's heartbeat is.

Runs of a killed `wan-pipeline run` that had not come to their op carry another tag, `wan_process` (process_marks.py).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager

import dagster as dg

from wan_pipeline.defs.passing import patiently
from wan_pipeline.defs.resources import Installation, OpenInstallation
from wan_pipeline.defs.run_tags import NO_RUN_RETRIES
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.owners import HEARTBEAT_EVERY_S

OWNER_TAG = "wan_owner"  # not below wan/: it is no order of an operator
_log = logging.getLogger(__name__)


@contextmanager
def marked_run(
    context: dg.AssetExecutionContext | dg.OpExecutionContext, installation: Installation
) -> Generator[OpenInstallation]:
    """The installation, opened; and within this block the run is marked as one whose process lives.

    Raises ConfigurationError where the installation cannot be opened.
    """
    with installation.open() as opened, Ledger.open(opened.settings.ledger_url) as marking:
        tags = {OWNER_TAG: marking.register_mark(), **NO_RUN_RETRIES}
        patiently(context.instance.add_run_tags, context.run_id, tags)
        over = threading.Event()
        thread = threading.Thread(target=_beat, args=(marking, over), name="wan-run-mark", daemon=True)
        thread.start()
        try:
            yield opened
        finally:
            over.set()
            thread.join()


def _beat(marking: Ledger, over: threading.Event) -> None:
    while not over.wait(HEARTBEAT_EVERY_S):
        try:
            marking.heartbeat()
        except Exception:  # noqa: BLE001 - the next beat may pass
            _log.warning("the ledger could not be told that this run is alive", exc_info=True)
