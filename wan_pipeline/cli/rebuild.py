"""`wan-pipeline doctor --rebuild-ledger`: what was restored from the bucket's manifests, and what nobody can know."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wan_pipeline.cli.console import eye_width, json_time, print_json, say
from wan_pipeline.cli.exits import ALL_MADE, WRONG_USE, WrongUseError
from wan_pipeline.cli.opened import open_ledger, prepare_home, settings_bucket
from wan_pipeline.problems import ConfigurationError
from wan_pipeline.settings import Settings

if TYPE_CHECKING:
    from wan_pipeline.generation.rebuilding import MissingTake, Rebuilt
    from wan_pipeline.spend.records import Difference

_SHOWN = 20  # of each kind, for eyes; --json has all
_TOLD_EVERY = 1000
_WRONG_FILES = (
    "What these files were is paid for and in the ledger, so nothing is bought by itself. Put them back, or buy them once "
    "more on purpose: `wan-pipeline run --new-take --shot KEY`."
)
_UNKNOWN = (
    "What manifests cannot tell: jobs that failed, were rejected or written off, and those that were in flight or ambiguous "
    "when the ledger was lost; they show only where a later take of the same shot was stored."
)


def rebuild_ledger(settings: Settings, *, verify_hashes: bool, as_json: bool) -> int:
    """The exit status: 2 where a file could not be restored or is not the one that was stored, or the ledger contradicts
    itself afterwards."""
    from sqlalchemy.exc import DBAPIError

    from wan_pipeline.generation.rebuilding import rebuild

    prepare_home(settings)
    bucket = settings_bucket(settings)
    bucket.check()
    try:
        with open_ledger(settings) as ledger:
            rebuilt = rebuild(ledger, bucket, verify_hashes=verify_hashes, tell=_teller())
            ledger.rebuild_totals()
            differences = ledger.verify()
    except ConfigurationError as error:
        raise WrongUseError(_of_damaged(settings, str(error))) from error
    except DBAPIError as error:
        raise WrongUseError(
            _of_damaged(settings, f"WAN_LEDGER_URL: the ledger cannot be used: {error.orig}.")
        ) from error
    if as_json:
        print_json(_as_object(rebuilt, differences))
    else:
        _print(rebuilt, differences, bucket.url)
    return WRONG_USE if rebuilt.unrestored or rebuilt.wrong_files or differences else ALL_MADE


def _teller() -> Callable[[int], None]:
    last = 0

    def tell(done: int) -> None:
        nonlocal last
        if done - last >= _TOLD_EVERY:
            last = done
            say(f"{done} manifests read")

    return tell


def _of_damaged(settings: Settings, error: str) -> str:
    """A file that is no ledger any more may still hold what a specialist can read: it is moved by a person, never here."""
    url = settings.ledger_url
    path = Path(url.partition("///")[2].partition("?")[0])
    if not url.startswith("sqlite") or not path.is_file():
        return error
    away = path.parent / "damaged-ledger"
    move = f"mkdir {shlex.quote(str(away))} && mv {shlex.quote(str(path))}* {shlex.quote(str(away))}/"
    return (
        f"{error} If the file is damaged: it is not touched here. Stop everything that uses it, move it away yourself with"
        f" what lies beside it (`{move}`), and rebuild. Keep it: it may still tell of jobs that no manifest knows."
    )


def _as_object(rebuilt: Rebuilt, differences: list[Difference]) -> dict[str, Any]:
    return {
        "restored": rebuilt.restored,
        "there_already": rebuilt.there_already,
        "not_restored": [{"key": item.key, "reason": item.reason} for item in rebuilt.unrestored],
        "wrong_files": [{"key": item.key, "reason": item.reason} for item in rebuilt.wrong_files],
        "missing_takes": [
            {
                "shot": item.shot,
                "take": item.take,
                "since": json_time(item.since),
                "until": json_time(item.until),
                "providers": list(item.providers),
            }
            for item in rebuilt.missing
        ],
        "newest_job_at": json_time(rebuilt.newest),
        "unknown": _unknown(rebuilt.newest),
        "differences": [str(difference) for difference in differences],
    }


def _print(rebuilt: Rebuilt, differences: list[Difference], bucket_url: str) -> None:
    print(f"restored       {_takes(rebuilt.restored)} from manifests in {bucket_url}")
    print(f"there already  {_takes(rebuilt.there_already)}")
    _list("not restored", [f"{item.key}: {item.reason}" for item in rebuilt.unrestored])
    _list("wrong file", [f"{item.key}: {item.reason}" for item in rebuilt.wrong_files])
    if rebuilt.wrong_files:
        print(textwrap.fill(_WRONG_FILES, eye_width()))
    _list("missing", [_missing(item) for item in rebuilt.missing])
    _list("contradictory", [str(difference) for difference in differences])
    if rebuilt.restored or not rebuilt.there_already:
        print(textwrap.fill(_unknown(rebuilt.newest), eye_width()))


def _list(title: str, lines: list[str]) -> None:
    if not lines:
        return
    print(f"{title:<14} {len(lines)}:")
    for line in lines[:_SHOWN]:
        print(f"  {line}")
    if len(lines) > _SHOWN:
        print(f"  and {len(lines) - _SHOWN} more: --json lists them")


def _takes(count: int) -> str:
    return "1 take" if count == 1 else f"{count} takes"


def _missing(item: MissingTake) -> str:
    where = " or ".join(item.providers) or "its provider"
    if item.since and item.until:
        when = f"between {_moment(item.since)} and {_moment(item.until)}"
    elif item.until:
        when = f"before {_moment(item.until)}"
    else:
        when = f"after {_moment(item.since)}" if item.since else "at that time"
    return (
        f"{item.shot}, take {item.take}: asked for, and no manifest (failed, lost, in flight or ambiguous): look into the"
        f" account at {where}, {when}"
    )


def _unknown(newest: datetime | None) -> str:
    since = (
        f"The newest job known was bought {_moment(newest)}: look into the providers' accounts from then on, before"
        " anything is bought again."
        if newest
        else "No job is known: look into the providers' accounts before anything is bought."
    )
    return f"{_UNKNOWN} {since}"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
