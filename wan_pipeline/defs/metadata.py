"""From the engine's events to what Dagster shows: metadata and checks.

What belongs here: how a value reads in the catalog. What does not: when it is logged (assets.py).
Amounts are exact decimal strings; the one float, `spend_usd_plot`, is there because the UI plots nothing but numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import dagster as dg

from wan_pipeline.bucket.base import public_url
from wan_pipeline.generation.events import CheckResult, Finished, Inspected, Quoted, Verdict, VideoResult
from wan_pipeline.media.info import AudioInfo, ImageInfo, MediaInfo
from wan_pipeline.problems import Problem

Metadata = dict[str, dg.MetadataValue]

_MAX_LISTED_SHOTS = 20


def link(base_url: str | None, key: str | None) -> str | None:
    """Where a reader's browser finds the object: only below a public base URL.

    Never a presigned URL: its signed part would stay in Dagster's event log.
    """
    return public_url(base_url, key) if base_url and key else None


def inspected_metadata(event: Inspected) -> Metadata:
    """What was found in the shot's input files."""
    table = [
        {"input": str(item.slot), "file": item.key, "found": describe_media(item.info), "sha256": item.sha256[:16]}
        for item in event.inputs
    ]
    return {
        "model": dg.MetadataValue.text(event.shot.model_id or ""),
        "digest": dg.MetadataValue.text(event.digest),
        "inputs": dg.MetadataValue.md(_markdown_table(table)),
    } | _campaign(event.shot.campaign)


def quoted_metadata(event: Quoted) -> Metadata:
    """What the shot will cost, and what it is that costs this."""
    order = event.shot.order
    metadata: Metadata = {
        "model": dg.MetadataValue.text(event.shot.model_id or ""),
        "quoted_low_usd": dg.MetadataValue.text(str(event.quote.low)),
        "quoted_usd": dg.MetadataValue.text(str(event.quote.high)),
        "quoted_usd_plot": dg.MetadataValue.float(float(event.quote.high.dollars)),
        "price_rule": dg.MetadataValue.text(event.quote.rule),
    }
    if order is not None:
        sound = "" if order.has_audio is None else "with sound" if order.has_audio else "silent"
        what = ", ".join(part for part in (f"{order.duration_s} s", order.resolution, sound) if part)
        metadata["ordered"] = dg.MetadataValue.text(what)
    if event.warnings:
        metadata["warnings"] = dg.MetadataValue.md("\n".join(f"- {warning}" for warning in event.warnings))
    return metadata | _campaign(event.shot.campaign)


def video_metadata(finished: Finished, video: VideoResult, public_base_url: str | None) -> Metadata:
    """What was made, by whom, for how much, and where it lies."""
    video_url = link(public_base_url, video.key)
    # The poster lies beside the video; its key differs in the ending alone (take-<n>.mp4, .webp, .json).
    poster_key = f"{video.key.rpartition('.')[0]}.webp" if video.poster_uri else None
    poster_url = link(public_base_url, poster_key)
    metadata: Metadata = {}
    if video_url and poster_url:
        metadata["poster"] = dg.MetadataValue.md(f"[![poster]({poster_url})]({video_url})")
    metadata |= {
        "job_id": dg.MetadataValue.text(video.job_id),
        "provider_job_id": dg.MetadataValue.text(video.provider_job_id or "unknown"),
        "provider": dg.MetadataValue.text(video.provider),
        "model": dg.MetadataValue.text(video.model),
        "take": dg.MetadataValue.int(video.take),
        "resolution": dg.MetadataValue.text(video.resolution),
        "video_seconds": dg.MetadataValue.float(float(video.duration_s)),
        "quoted_usd": dg.MetadataValue.text(str(video.quoted)),
        "billed_usd": dg.MetadataValue.text("unknown" if video.billed is None else str(video.billed)),
        "basis": dg.MetadataValue.text(str(video.basis or "unknown")),
        "uri": location(video.uri),
        "sha256": dg.MetadataValue.text(video.sha256),
        "bytes": dg.MetadataValue.int(video.size_bytes),
        "simulated": dg.MetadataValue.bool(video.simulated),
        "outdated": dg.MetadataValue.bool(finished.verdict is Verdict.OUTDATED),
    }
    if video.waited_s is not None:
        metadata["waited_seconds"] = dg.MetadataValue.float(round(video.waited_s, 3))
    if video.billed is not None:
        metadata["spend_usd_plot"] = dg.MetadataValue.float(float(video.billed.dollars))
    if video_url:
        metadata["video"] = dg.MetadataValue.url(video_url)
    if video.reused_from and video.reused_from != finished.shot.key:
        metadata["reused_from"] = dg.MetadataValue.text(video.reused_from)
    return metadata | _campaign(finished.shot.campaign)


def problems_metadata(problems: Sequence[Problem]) -> Metadata:
    """The mistakes in a shot's files as a table: file, field, what was found, what is wrong, the remedy."""
    records = [
        {
            "file": item.file,
            "field": item.field,
            "found": item.value[:80],
            "problem": item.message,
            "remedy": item.remedy,
        }
        for item in problems
    ]
    return {"problems": dg.MetadataValue.md(_markdown_table(records))} if records else {}


def check_metadata(result: CheckResult) -> Metadata:
    """The measured and the ordered values, as the engine tells them."""
    return {"detail": dg.MetadataValue.text(result.detail)}


def failure(bad: Sequence[tuple[str, str, str]], total: int) -> dg.Failure:
    """The run's failure for shots that are not good: `bad` holds shot, verdict and reason of each.

    allow_retries=False: the engine has retried what a retry can help; the rest waits for a person.
    """
    lines = [f"{shot}: {verdict}: {reason}" for shot, verdict, reason in bad[:_MAX_LISTED_SHOTS]]
    if len(bad) > _MAX_LISTED_SHOTS:
        lines.append(f"and {len(bad) - _MAX_LISTED_SHOTS} more: see the table")
    records = [dg.TableRecord({"shot": shot, "verdict": verdict, "reason": reason}) for shot, verdict, reason in bad]
    return dg.Failure(
        description=f"{len(bad)} of {total} shots are not done:\n" + "\n".join(lines),
        metadata={"shots": dg.MetadataValue.table(records=records)},
        allow_retries=False,
    )


def describe_media(info: MediaInfo) -> str:
    """`jpeg 1280x720, 0.2 MB`."""
    size = f"{info.size_bytes / 1e6:.1f} MB" if info.size_bytes >= 1e5 else f"{info.size_bytes / 1e3:.1f} kB"
    if isinstance(info, ImageInfo):
        return f"{info.format} {info.width}x{info.height}, {size}"
    if isinstance(info, AudioInfo):
        return f"{info.format} {info.duration_s:.1f} s, {size}"
    return f"{info.container} {info.width}x{info.height} {info.duration_s:.1f} s, {size}"


def location(uri: str) -> dg.MetadataValue:
    """A URI as the UI shows it best: a link where a browser can follow it, a path otherwise."""
    scheme = urlsplit(uri).scheme
    if scheme in ("http", "https"):
        return dg.MetadataValue.url(uri)
    return dg.MetadataValue.path(uri)


def _campaign(campaign: str | None) -> Metadata:
    return {"campaign": dg.MetadataValue.text(campaign)} if campaign else {}


def _markdown_table(records: Sequence[Mapping[str, str]]) -> str:
    if not records:
        return "none"
    columns = list(records[0])
    rows = [columns, ["---"] * len(columns), *([record[name] for name in columns] for record in records)]
    return "\n".join("| " + " | ".join(_cell(value) for value in row) + " |" for row in rows)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
