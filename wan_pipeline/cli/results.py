"""What became of each shot, as `run` and `demo` show it: for eyes and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from wan_pipeline.cli.console import Column, json_time, json_usd, print_table, seconds, usd, video_file
from wan_pipeline.cli.exits import ALL_MADE, FAILED
from wan_pipeline.cli.progress import reason_line
from wan_pipeline.cli.work_list import Known
from wan_pipeline.generation.events import GOOD_VERDICTS, WAITING_VERDICTS, Deferred, Finished, Verdict
from wan_pipeline.money import ZERO, Money
from wan_pipeline.shots.shot import Shot

_NO_FAILURE = GOOD_VERDICTS | WAITING_VERDICTS
_NOBODY_KNOWS = {Verdict.AMBIGUOUS, Verdict.IN_FLIGHT}  # what they cost


@dataclass(frozen=True)
class Row:
    """`billed` is what the shot has cost in this run: zero for a video that was there; None: nobody has said yet."""

    shot: str
    verdict: Verdict
    reason: str
    model: str | None
    take: int | None = None
    duration_s: float | None = None
    quoted: Money | None = None
    billed: Money | None = ZERO
    basis: str | None = None
    uri: str | None = None
    job_id: str | None = None
    reused_from: str | None = None
    deferred: Deferred | None = None

    @property
    def good(self) -> bool:
        return self.verdict in _NO_FAILURE

    def as_json(self) -> dict[str, Any]:
        return {
            "shot": self.shot,
            "verdict": str(self.verdict),
            "reason": self.reason,
            "model": self.model,
            "take": self.take,
            "duration_s": self.duration_s,
            "quoted_usd": json_usd(self.quoted),
            "billed_usd": json_usd(self.billed),
            "basis": self.basis,
            "video_uri": self.uri,
            "job_id": self.job_id,
            "reused_from": self.reused_from,
            "deferred": None
            if self.deferred is None
            else {
                "limit": self.deferred.limit or None,
                "provider": self.deferred.provider,
                "needed_usd": json_usd(self.deferred.needed),
                "until": json_time(self.deferred.until),
            },
        }


def row_of_finished(event: Finished) -> Row:
    """Of a shot that the engine has looked at."""
    video = event.video
    if video is None:
        return Row(
            event.shot.key,
            event.verdict,
            event.reason,
            event.shot.model_id,
            quoted=event.quote.high if event.quote else None,
            billed=(event.billed or None) if event.verdict in _NOBODY_KNOWS else event.billed,
            job_id=event.job_id,
            deferred=event.deferred,
        )
    return Row(
        event.shot.key,
        event.verdict,
        event.reason,
        video.model,
        take=video.take,
        duration_s=video.duration_s,
        quoted=video.quoted,
        billed=video.billed,
        basis=str(video.basis) if video.basis else None,
        uri=video.uri,
        job_id=video.job_id,
        reused_from=video.reused_from if video.reused_from != event.shot.key else None,
    )


def row_of_known(known: Known) -> Row:
    """Of a shot that there was nothing to do for."""
    job, take = known.job, known.take
    stored = take is not None and take.video_uri is not None
    return Row(
        known.shot.key,
        known.verdict,
        known.reason,
        known.shot.model_id,
        take=take.take if take else None,
        duration_s=job.video_duration_s if job and stored else None,
        quoted=job.quoted_high if job else None,
        billed=None if known.verdict in _NOBODY_KNOWS else ZERO,
        basis=str(job.basis) if job and job.basis else None,
        uri=take.video_uri if take else None,
        job_id=job.id if job else None,
        reused_from=job.shot if job and take and take.reused else None,
    )


def row_of_lost_run(shot: Shot, error: str) -> Row:
    """Of a shot whose Dagster run ended before the engine could say anything of it."""
    return Row(shot.key, Verdict.FAILED, error, shot.model_id, billed=None)


def exit_status(rows: Iterable[Row]) -> int:
    return ALL_MADE if all(row.good for row in rows) else FAILED


def totals(rows: Sequence[Row]) -> dict[str, Any]:
    """For JSON."""
    counts = Counter(str(row.verdict) for row in rows)
    return {
        "shots": len(rows),
        "verdicts": dict(sorted(counts.items())),
        "billed_usd": str(Money.total(row.billed for row in rows if row.billed is not None)),
    }


def print_rows(rows: Sequence[Row]) -> None:
    """The table, and under it the reason of each shot that has one."""
    print_table(
        [
            Column("shot"),
            Column("result"),
            Column("model"),
            Column("take", right=True, spare=True),
            Column("seconds", right=True),
            Column("quoted USD", right=True),
            Column("billed USD", right=True),
            Column("file"),
        ],
        [
            (
                row.shot,
                str(row.verdict),
                row.model or "",
                str(row.take or ""),
                seconds(row.duration_s),
                usd(row.quoted),
                "?" if row.billed is None else usd(row.billed),
                video_file(row.uri),
            )
            for row in rows
        ],
    )
    print_reasons(rows)


def print_reasons(rows: Iterable[Row]) -> None:
    """Why a shot is not as one would have it, a line each."""
    for row in rows:
        if row.reason:
            print(reason_line(row.shot, row.verdict, row.reason))
