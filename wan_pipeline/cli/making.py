"""Making shots: from the bucket's listing to the rows of `run` and `demo`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

from wan_pipeline.cli import links
from wan_pipeline.cli.console import say
from wan_pipeline.cli.drive import Drive, open_instance, run_quietly
from wan_pipeline.cli.options import check_keys
from wan_pipeline.cli.progress import Display, display
from wan_pipeline.cli.results import Row, row_of_finished, row_of_known, row_of_lost_run
from wan_pipeline.cli.work_list import Facts, WorkList, work_list
from wan_pipeline.defs.partitions import add_shots
from wan_pipeline.defs.resources import OpenInstallation
from wan_pipeline.defs.run_tags import ASKED_BY, NEW_TAKE, OUTDATED, RETRY_FAILED, AskedBy
from wan_pipeline.defs.take_up import update_index
from wan_pipeline.generation.events import Event, Finished, Verdict
from wan_pipeline.generation.listeners import subscribe
from wan_pipeline.problems import ConfigurationError
from wan_pipeline.providers.catalog import find_model
from wan_pipeline.shots.discovery import settled
from wan_pipeline.shots.shot import Shot, missing
from wan_pipeline.spend.records import ClaimOptions, JobState


@dataclass(frozen=True)
class Asked:
    """What the person wants made. No shots: all that are missing."""

    shots: tuple[str, ...] = ()
    options: ClaimOptions = field(default_factory=ClaimOptions)
    settle_seconds: float = 0.0

    @property
    def claim_options(self) -> ClaimOptions:
        """A shot asked for by name may be tried again."""
        options = self.options
        return ClaimOptions(options.retry_failed or bool(self.shots), options.new_take, options.outdated)

    @property
    def tags(self) -> dict[str, str]:
        """The run tags that say the same to Dagster's op."""
        options = self.claim_options
        decided = {NEW_TAKE: options.new_take, RETRY_FAILED: options.retry_failed, OUTDATED: options.outdated}
        return {ASKED_BY: str(AskedBy.RUN)} | {name: "true" for name, value in decided.items() if value}


@dataclass(frozen=True)
class Made:
    """`rows` are all shots that were asked for, in the order of their keys; `stopped_by` the exit status of a signal."""

    rows: tuple[Row, ...]
    stopped_by: int | None


def make(opened: OpenInstallation, asked: Asked) -> Made:
    """Make what is missing, and wait for it.

    Raises WrongUseError for a shot that there is not, ConfigurationError where something is missing that money needs.
    """
    opened.check()
    chosen, unsettled = _quiet_shots(opened, asked)
    work = _work(opened, asked, chosen, [shot for shot in chosen if shot.key not in unsettled])
    for job in work.gone:
        what = "ambiguous" if job.state is JobState.AMBIGUOUS else "in flight"
        then = "it is looked for" if job.state is JobState.AMBIGUOUS else "its video is collected"
        say(f"job {job.id} is {what}, and nothing makes its shot {job.shot!r} any more: {then}")
    gone = [missing(key, opened.bucket.url) for key in sorted({job.shot for job in work.gone})]
    work = replace(work, to_make=(*work.to_make, *gone))
    _check_keys_of_providers(opened, work)
    moving = [
        Row(key, Verdict.NOT_DUE, f"its files have changed in the last {asked.settle_seconds:g} s; run again", None)
        for key in sorted(unsettled & {shot.key for shot in chosen})
    ]
    made, stopped_by = _drive(opened, asked, work)
    known = [row_of_known(item) for item in work.known]
    all_rows = sorted([*made, *known, *moving], key=lambda row: row.shot)
    return Made(tuple(all_rows), stopped_by)


def _work(opened: OpenInstallation, asked: Asked, chosen: Sequence[Shot], quiet: Sequence[Shot]) -> WorkList:
    """`quiet`: those of the chosen shots that may be made now. What a person names is looked at by the engine in any case,
    so nothing has to be known of it."""
    if asked.shots:
        return WorkList(tuple(quiet), (), ())
    now = datetime.now(UTC)
    simulated = opened.settings.mode == "demo"
    rows = update_index(opened.ledger.index, chosen, now, simulated=simulated)
    videos = {item.key for item in opened.bucket.list("videos/")}
    absent_after = timedelta(seconds=opened.settings.absent_after_seconds)
    facts = Facts.read(opened.ledger, rows, videos, simulated=simulated, absent_after=absent_after, now=now)
    return work_list(quiet, facts, asked.claim_options, by_name=False, whole=True)


def _quiet_shots(opened: OpenInstallation, asked: Asked) -> tuple[list[Shot], set[str]]:
    """The shots that are asked for; and the keys of those whose files have kept changing while others were waited for."""
    shots = _chosen(opened, asked)

    def left_s(some: Sequence[Shot]) -> dict[str, float]:
        now = datetime.now(UTC)
        return {shot.key: left for shot in some if (left := settled(shot, now, asked.settle_seconds)) > 0}

    moving = left_s(shots)
    if moving:
        wait_s = max(moving.values())
        say(f"waiting {wait_s:.1f} s for the files of {len(moving)} shots to be quiet (WAN_SETTLE_SECONDS)")
        time.sleep(wait_s)
        shots = _chosen(opened, asked)
        moving = left_s(shots)
    return shots, set(moving)


def _chosen(opened: OpenInstallation, asked: Asked) -> list[Shot]:
    """Those that are named, or all. Only where a name is wrong are all read to say which was meant."""
    if not asked.shots:
        return opened.discover()
    found = opened.discover_some(asked.shots)
    if {shot.key for shot in found} != set(asked.shots):
        every = opened.discover()
        check_keys(asked.shots, {shot.key for shot in every})
        return [shot for shot in every if shot.key in asked.shots]
    return found


def _check_keys_of_providers(opened: OpenInstallation, work: WorkList) -> None:
    """Live mode with a key missing fails at once, before anything is bought with another key."""
    shots: dict[str, list[str]] = {}
    for shot in work.to_make:
        if shot.ready and shot.model_id:
            shots.setdefault(find_model(shot.model_id).provider, []).append(shot.key)
    without: dict[str, list[str]] = {}
    for provider, keys in sorted(shots.items()):
        try:
            opened.connect(provider)
        except ConfigurationError as error:
            without.setdefault(str(error), []).extend(keys)
    if without:
        raise ConfigurationError("; ".join(_needed(error, keys, work) for error, keys in without.items()))


def _needed(error: str, keys: Sequence[str], work: WorkList) -> str:
    more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
    others = "; --shot makes others without it" if len(keys) < len(work.to_make) else ""
    return f"{error} (it is needed by {keys[0]}{more}{others})"


def _drive(opened: OpenInstallation, asked: Asked, work: WorkList) -> tuple[list[Row], int | None]:
    not_due = [item.shot.key for item in work.known if item.verdict is Verdict.NOT_DUE]
    if not work.to_make and not not_due:
        return [], None
    with open_instance(opened.settings) as instance:
        add_shots(instance, not_due)
        if not work.to_make:
            return [], None
        links.announce(opened.settings)  # before the definitions read their variables
        from wan_pipeline.definitions import defs

        drive = Drive(instance, opened.settings.dagster_home, defs.resolve_job_def("make_videos"), asked.tags)
        pieces = drive.pieces(work.to_make)
        finished: dict[str, Finished] = {}
        with display(len(work.to_make)) as shown:

            def listen(event: Event) -> None:
                if isinstance(event, Finished):
                    finished[event.shot.key] = event
                shown(event)

            with subscribe(listen):
                results = drive.run(pieces, lambda times: _told_to_stop(shown, times))
    errors = {key: result.error for result in results for key in result.piece.keys if result.error}
    rows: list[Row] = []
    for shot in work.to_make:
        end, error = finished.get(shot.key), errors.get(shot.key)
        stopped_by_error = end is not None and end.verdict is Verdict.STOPPED and error and drive.stopped_by is None
        if end is None or stopped_by_error:  # its run broke off: why is what a person needs to know
            rows.append(row_of_lost_run(shot, error or "its run ended without a word on it"))
        else:
            rows.append(row_of_finished(end))
    return rows, drive.stopped_by


def _told_to_stop(shown: Display, times: int) -> None:
    if times == 1:
        shown.say("stopping: nothing more is bought; what is in flight is left for the next run to collect")
    elif times == 2:
        shown.say(
            "still waiting for answers to what was sent; leaving now may make a job ambiguous. Once more to leave anyway"
        )


def report_day(opened: OpenInstallation, day: date) -> None:
    """The day's cost report by Dagster's own job, so that it is in the bucket and shows in the catalog.

    Raises ConfigurationError where it cannot be made.
    """
    with open_instance(opened.settings) as instance:
        links.announce(opened.settings)
        from wan_pipeline.definitions import defs

        run_quietly(instance, defs.resolve_job_def("daily_report"), day.isoformat())
