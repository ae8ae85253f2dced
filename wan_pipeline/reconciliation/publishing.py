"""A reconciliation as files in the bucket: every line and job with how it stands as CSV, and all of it as JSON.

`reports/YYYY/MM/reconciliation-<day or month>-<provider>.csv` and `.json`; of simulated money `…-simulated`. Run again, they
are replaced. Amounts are exact decimals.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from wan_pipeline.bucket import Bucket
from wan_pipeline.money import Money
from wan_pipeline.reconciliation.findings import Finding
from wan_pipeline.reconciliation.matching import Comparison, Row
from wan_pipeline.reconciliation.reconciling import Reconciliation

COLUMNS: tuple[str, ...] = (
    "books",
    "stands",
    "finding",
    "key",
    "job",
    "shot",
    "take",
    "model",
    "provider_job_id",
    "submitted_at",
    "ours_usd",
    "theirs_usd",
    "difference_usd",
    "line_ids",
    "line_moments",
    "places",
    "words",
    "reason",
    "who",
    "video_uri",
)


def publish(result: Reconciliation, bucket: Bucket) -> dict[str, str]:
    """Writes both files; gives the URI of each by its ending. Raises BucketError."""
    base = base_key(result)
    files = {
        "csv": (to_csv(result), "text/csv; charset=utf-8"),
        "json": ((json.dumps(as_object(result), indent=1) + "\n").encode(), "application/json"),
    }
    for ending, (data, content_type) in files.items():
        bucket.write(f"{base}.{ending}", data, content_type)
    return {ending: bucket.uri(f"{base}.{ending}") for ending in files}


def base_key(result: Reconciliation) -> str:
    """The files' key without its ending."""
    kind = "-simulated" if result.simulated else ""
    return f"reports/{result.period.first:%Y/%m}/reconciliation-{result.period.name}-{result.provider}{kind}"


def as_object(result: Reconciliation) -> dict[str, Any]:
    """All but the lines that agree, for a program."""
    return {
        "provider": result.provider,
        "period": result.period.name,
        "simulated": result.simulated,
        "as_of": _time(result.as_of),
        "over": not result.is_running,
        "verdict": result.verdict.value,
        "jobs": result.jobs,
        "billed_usd": str(result.billed),
        "books": [_book(comparison) for comparison in result.comparisons],
        "not_read": result.unread,
        "not_asked": result.unasked,
        "refused_files": [
            {"file": each.key, "problems": [str(problem) for problem in each.problems]} for each in result.refused
        ],
        "notes": list(result.notes),
        "findings": [finding_object(finding) for finding in result.findings],
        "corrected_now": [finding_object(finding) for finding in result.corrected],
        "corrections": [
            {
                "job": each.job_id,
                "shot": each.shot,
                "entry": each.kind.value,
                "amount_usd": str(each.amount),
                "at": _time(each.at),
                "evidence": each.note,
            }
            for each in result.corrections
        ],
        "explained_earlier": [
            {
                "key": each.finding,
                "what": each.what,
                "reason": each.reason,
                "who": each.who,
                "at": _time(each.at),
            }
            for each in result.earlier
        ],
    }


def finding_object(finding: Finding) -> dict[str, Any]:
    """One finding, for a program."""
    said = finding.explanation
    return {
        "key": finding.key,
        "kind": finding.kind.value,
        "of": finding.line_kind.value,
        "standing": finding.standing.value,
        "day": finding.day.isoformat(),
        "books": finding.book,
        "job": finding.job.id if finding.job else None,
        "shot": finding.job.shot if finding.job else None,
        "line_ids": [line.unique for line in finding.lines],
        "places": [line.place for line in finding.lines],
        "theirs_usd": _usd(finding.theirs),
        "ours_usd": _usd(finding.ours),
        "difference_usd": str(finding.difference),
        "words": finding.words,
        "reason": said.reason if said else None,
        "who": said.who if said else None,
        "explained_at": _time(said.at) if said else None,
    }


def to_csv(result: Reconciliation) -> bytes:
    """A row for each job and each line without a job; a job with several findings has several."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    findings = {finding.key: finding for finding in result.findings}
    for comparison in result.comparisons:
        for row in comparison.rows:
            writer.writerows(_records(comparison, row, findings))
    return text.getvalue().encode()


def _records(comparison: Comparison, row: Row, findings: dict[str, Finding]) -> Iterator[dict[str, Any]]:
    job = row.job
    base: dict[str, Any] = {"books": comparison.book.title}
    if job is not None:
        base |= {
            "job": job.id,
            "shot": job.shot,
            "take": job.take,
            "model": job.model,
            "provider_job_id": job.provider_job_id,
            "submitted_at": _time(job.moment),
            "video_uri": job.video_uri,
        }
    if not row.findings:
        lines = row.lines
        yield base | {
            "stands": "too early to say" if row.pending else "matched",
            "ours_usd": str(row.ours),
            "theirs_usd": str(row.theirs),
            "difference_usd": str(row.theirs - row.ours),
            "line_ids": " ".join(line.unique for line in lines),
            "line_moments": " ".join(_time(line.at) for line in lines),
            "places": "; ".join(dict.fromkeys(line.place for line in lines)),
        }
    for each in row.findings:
        finding = findings.get(each.key, each)
        said = finding.explanation
        yield base | {
            "stands": finding.standing.value,
            "finding": f"{finding.kind.value} ({finding.line_kind.value})",
            "key": finding.key,
            "ours_usd": _usd(finding.ours),
            "theirs_usd": _usd(finding.theirs),
            "difference_usd": str(finding.difference),
            "line_ids": " ".join(line.unique for line in finding.lines),
            "line_moments": " ".join(_time(line.at) for line in finding.lines),
            "places": "; ".join(dict.fromkeys(line.place for line in finding.lines)),
            "words": finding.words,
            "reason": said.reason if said else None,
            "who": said.who if said else None,
        }


def _book(comparison: Comparison) -> dict[str, Any]:
    return {
        "books": comparison.book.name,
        "title": comparison.book.title,
        "lines": comparison.line_count,
        "matched": comparison.matched,
        "findings": len(comparison.findings),
        "too_early": comparison.pending,
        "jobs_not_covered": comparison.jobs_not_covered,
        "ledger_usd": str(comparison.balance.ledger),
        "theirs_usd": str(comparison.balance.theirs),
        "balance": [{"what": what, "usd": str(amount)} for what, amount in comparison.balance.lines],
        "others": [
            {"kind": line.kind.value, "line": line.unique, "usd": str(line.amount), "detail": line.detail}
            for line in comparison.others
        ],
    }


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _usd(amount: Money | None) -> str | None:
    return None if amount is None else str(amount)
