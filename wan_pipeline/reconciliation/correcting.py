"""What is done about findings: corrections by their evidence alone, and what a person accepts. Entries are appended.

Said again, nothing is appended twice: a correction says what the total becomes, and once both sides agree there is no
finding.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime

from wan_pipeline.reconciliation.findings import Finding
from wan_pipeline.spend.audit_records import Explanation
from wan_pipeline.spend.correcting import BillPart
from wan_pipeline.spend.errors import LedgerError
from wan_pipeline.spend.ledger import Ledger

_log = logging.getLogger(__name__)


def correct_by_themselves(ledger: Ledger, findings: Iterable[Finding]) -> list[Finding]:
    """Appends what their evidence settles; gives those of which something was. A job is touched once: what a second set of
    books says of it is looked at again, against what it is then."""
    done: list[Finding] = []
    touched: set[str] = set()
    for finding in findings:
        if finding.fix is None or not finding.fix.by_itself or finding.job is None or finding.job.id in touched:
            continue
        touched.add(finding.job.id)
        if _apply(ledger, finding, ""):
            done.append(finding)
    return done


def accept(ledger: Ledger, findings: Iterable[Finding], reason: str, who: str, now: datetime) -> list[Finding]:
    """A person's word on these: kept with name and date. Where entries can settle one, they are appended, with the reason in
    their evidence; lines without a job and jobs without a line change no bill. Gives those whose entries were appended."""
    wanted = [finding for finding in findings if finding.is_open]
    changed = [finding for finding in wanted if _apply(ledger, finding, f"accepted by {who}: {reason}; ")]
    ledger.statements.explain(
        [
            Explanation(
                finding=finding.key,
                provider=finding.provider,
                simulated=finding.simulated,
                day=finding.day,
                what=finding.words,
                reason=reason,
                who=who,
                at=now,
            )
            for finding in wanted
        ]
    )
    return changed


def _apply(ledger: Ledger, finding: Finding, said: str) -> bool:
    """Whether entries were appended. A job that somebody else has billed differently since is left as it is."""
    if finding.fix is None or finding.job is None:
        return False
    try:
        parts = [BillPart(each.total, f"{said}{each.evidence}", each.refunded_at) for each in finding.fix.changes]
        return ledger.settle(finding.job.id, finding.job.billed, parts)
    except LedgerError as error:
        _log.warning("%s: not corrected: %s", finding.job.named, error)
        return False
