"""`wan-pipeline doctor`: is everything there, and what to do where it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import click

from wan_pipeline.cli.console import console, print_json
from wan_pipeline.cli.exits import ALL_MADE, WRONG_USE, WrongUseError
from wan_pipeline.cli.findings import Finding
from wan_pipeline.cli.options import example, json_option
from wan_pipeline.problems import ConfigurationError
from wan_pipeline.settings import Settings

_LONG_ENOUGH_S = 3 * 3600  # longer than the longest generation


@click.command(
    epilog=example(
        "wan-pipeline doctor",
        "WAN_MODE=live wan-pipeline doctor --json",
        "wan-pipeline doctor --rebuild-ledger --verify-hashes",
    )
)
@click.option(
    "--rebuild-ledger",
    is_flag=True,
    help="Restore from the bucket's manifests what the ledger does not have. Changes nothing that is there; buys nothing.",
)
@click.option("--verify-hashes", is_flag=True, help="With --rebuild-ledger: read each video, and compare its SHA-256.")
@json_option
def command(rebuild_ledger: bool, verify_hashes: bool, as_json: bool) -> int:
    """Check settings, bucket, ledger, keys and budgets. Buys nothing; keys are never shown. Exit status 2 on a problem.

    It shows each budget with what is held and billed, money in doubt and money wasted, what waits for room, and where a
    price or a parameter of the catalog is not what its provider says, bills or takes.
    """
    if verify_hashes and not rebuild_ledger:
        raise WrongUseError(
            "--verify-hashes goes with --rebuild-ledger: it is the videos of the manifests that it reads"
        )
    if rebuild_ledger:
        from wan_pipeline.cli import rebuild

        return rebuild.rebuild_ledger(Settings.load(), verify_hashes=verify_hashes, as_json=as_json)
    findings = list(_findings())
    if as_json:
        print_json([finding.as_json() for finding in findings])
    else:
        _print(findings)
    return WRONG_USE if any(finding.status == "problem" for finding in findings) else ALL_MADE


def _findings() -> Iterator[Finding]:
    try:
        settings = Settings.load()
    except ConfigurationError as error:
        yield Finding("settings", "problem", str(error), "correct the variable; docs/operating.md lists them all")
        return
    what = "simulated providers, nothing is bought" if settings.mode == "demo" else "real providers: runs spend money"
    yield Finding("settings", "ok", f"WAN_MODE={settings.mode} ({what}); WAN_HOME={settings.home.absolute()}")
    yield from _unknown_variables()
    for check in (_bucket, _events, _inputs, _keys, _models, _prices, _ledger, _lost_answers, _dagster, _simulator):
        yield from _guarded(check, settings)


def _unknown_variables() -> Iterator[Finding]:
    """A misspelt budget is no budget: variables that look like settings, and are none."""
    import difflib
    import os

    from wan_pipeline.cli import simulator

    known = {field.alias for field in Settings.model_fields.values() if field.alias}
    known.add("WAN_DAGSTER_STORAGE_URL")
    known |= {option.envvar for option in simulator.command.params if isinstance(option.envvar, str)}
    for name in sorted(os.environ):
        if name.startswith("WAN_") and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            remedy = f"did you mean {near[0]}?" if near else "docs/operating.md lists the settings"
            yield Finding("settings", "note", f"{name} is set, and is no setting: it has no effect", remedy)


def _guarded(check: Callable[[Settings], Iterator[Finding]], settings: Settings) -> Iterator[Finding]:
    """One check's own failure is a finding like others: doctor goes on."""
    name = check.__name__.strip("_")
    try:
        yield from check(settings)
    except ConfigurationError as error:
        yield Finding(name, "problem", str(error))
    except Exception as error:  # noqa: BLE001 - told as what it is; the other checks are wanted too
        yield Finding(name, "problem", f"{type(error).__name__}: {error}")


def _bucket(settings: Settings) -> Iterator[Finding]:
    from wan_pipeline.bucket import BucketError
    from wan_pipeline.cli.opened import prepare_home, settings_bucket

    prepare_home(settings)
    try:
        bucket = settings_bucket(settings)
        bucket.check()
        some = next(iter(bucket.list("inbox/")), None)
    except BucketError as error:
        yield Finding("bucket", "problem", f"WAN_BUCKET_URL: {error}")
        return
    yield Finding("bucket", "ok", f"{bucket.url} can be read and written")
    if some is None:
        yield Finding("inbox", "note", "inbox/ is empty", "put images there; `wan-pipeline demo` writes samples")


def _events(settings: Settings) -> Iterator[Finding]:
    from wan_pipeline.cli.doctor_events import told_events

    yield from told_events(settings)


def _inputs(settings: Settings) -> Iterator[Finding]:
    from wan_pipeline.cli.opened import settings_bucket

    if settings.mode == "demo":
        yield Finding("inputs", "ok", "the simulator in this process fetches them from the bucket")
        return
    bucket = settings_bucket(settings)
    url = bucket.fetch_url("inbox/doctor", 60)
    if url is None:
        yield Finding(
            "inputs",
            "note",
            "this bucket has no URL that providers can fetch from: AI/ML API gets inputs as data URIs, "
            "for the others that is an error before anything is bought",
            "set WAN_PUBLIC_BASE_URL, or use a bucket on S3",
        )
    elif settings.public_base_url is not None:
        yield Finding("inputs", "ok", f"providers fetch them below {settings.public_base_url}")
    else:
        yield Finding("inputs", "ok", "providers fetch them by presigned URLs")


def _keys(settings: Settings) -> Iterator[Finding]:
    if settings.mode == "demo":
        yield Finding("keys", "ok", "not needed in demo mode")
        return
    from wan_pipeline.providers.connect import PROVIDERS

    keys = {
        "shortapi": settings.shortapi_key,
        "aimlapi": settings.aimlapi_key,
        "wavespeed": settings.wavespeed_api_key,
    }
    users = _users(settings)
    for name, info in PROVIDERS.items():
        base_url = getattr(settings, f"{name}_base_url")
        if keys.get(name):
            yield Finding(f"key of {info.title}", "ok", f"{info.key_variable} is set; requests go to {base_url}")
        elif name in users:
            yield Finding(
                f"key of {info.title}",
                "problem",
                f"{info.key_variable} is not set, and shots in the inbox need it, e.g. {users[name]}",
                "set it, or name another model for them",
            )
        elif any(keys.values()):
            yield Finding(
                f"key of {info.title}",
                "note",
                f"{info.key_variable} is not set",
                "its models cannot be used until it is",
            )
        else:
            yield Finding(
                f"key of {info.title}", "problem", f"{info.key_variable} is not set", "set at least one provider's key"
            )


def _users(settings: Settings) -> dict[str, str]:
    """For each provider that the inbox needs, a shot that does. None where the bucket cannot be read (told above)."""
    from wan_pipeline.bucket import BucketError
    from wan_pipeline.cli.opened import settings_bucket
    from wan_pipeline.shots.discovery import discover

    try:
        shots = discover(settings_bucket(settings), settings.default_model)
    except BucketError:
        return {}
    users: dict[str, str] = {}
    for shot in shots:
        if shot.ready and shot.model_id is not None:
            users.setdefault(shot.model_id.partition("/")[0], shot.key)
    return users


def _models(settings: Settings) -> Iterator[Finding]:
    from wan_pipeline.problems import ProblemsError
    from wan_pipeline.providers.catalog import catalog, find_model

    if settings.default_model is not None:
        try:
            find_model(settings.default_model)
        except ProblemsError as error:
            yield Finding("models", "problem", f"WAN_DEFAULT_MODEL: {error}")
            return
    default = settings.default_model or "none"
    yield Finding("models", "ok", f"{', '.join(sorted(catalog()))}; for shots that name none: {default}")


def _prices(settings: Settings) -> Iterator[Finding]:
    from wan_pipeline.cli.doctor_prices import told_prices

    yield from told_prices(settings)


def _ledger(settings: Settings) -> Iterator[Finding]:
    from sqlalchemy import make_url

    from wan_pipeline.cli.doctor_ledger import state_of
    from wan_pipeline.cli.doctor_prices import seen_in
    from wan_pipeline.cli.opened import open_ledger

    with open_ledger(settings) as ledger:
        ledger.check()
        differences = ledger.verify()
        shown = make_url(settings.ledger_url).render_as_string(hide_password=True)
        yield Finding("ledger", "ok", f"{shown} can be reached, and has the tables of this version")
        if differences:
            words = "; ".join(str(difference) for difference in differences[:5])
            yield Finding(
                "books",
                "problem",
                f"{len(differences)} differences: {words}",
                "restore a backup, or ask the maintainers",
            )
        else:
            yield Finding("books", "ok", "every job agrees with its money entries")
        yield from state_of(settings, ledger)
        yield from seen_in(ledger, settings)


def _lost_answers(settings: Settings) -> Iterator[Finding]:
    """How a submission whose answer was lost is found out."""
    from wan_pipeline.cli.callback_check import answer_of

    if settings.mode == "live" and settings.absent_after_seconds < _LONG_ENOUGH_S:
        yield Finding(
            "WAN_ABSENT_AFTER_SECONDS",
            "note",
            f"{settings.absent_after_seconds:g} s after a lost answer, a provider's word that there is no such job is "
            "believed, and the shot bought anew: a generation that is listed later than that is paid for twice",
            f"leave it out, or set it to {_LONG_ENOUGH_S} or more",
        )
    url = settings.public_callback_url
    if url is None:
        if settings.mode == "live" and settings.shortapi_key is not None:
            yield Finding(
                "callbacks",
                "note",
                "WAN_PUBLIC_CALLBACK_URL is not set, and ShortAPI offers no other way to find out what became of a "
                "submission whose answer was lost: each waits for a person",
                "run `wan-pipeline receiver` where ShortAPI can reach it, and set the variable to its address",
            )
        return
    answer = answer_of(url)
    if answer is None:
        yield Finding("callbacks", "ok", f"a receiver answers at {url}, asked from here")
    else:
        status = "problem" if settings.mode == "live" and settings.shortapi_key is not None else "note"
        yield Finding("callbacks", status, f"WAN_PUBLIC_CALLBACK_URL: {url} {answer}", "is `wan-pipeline receiver` up?")


def _dagster(settings: Settings) -> Iterator[Finding]:
    import os

    home = settings.dagster_home
    there = "is there" if (home / "dagster.yaml").exists() else "will be made by the first run"
    from wan_pipeline.defs.instance import check_storage

    try:
        yield Finding("Dagster", "ok", f"its home {home} {there}; runs and events are stored in {check_storage()}")
    except ConfigurationError as error:
        yield Finding("Dagster", "problem", str(error))
    other = os.environ.get("DAGSTER_HOME")
    if other and other != str(home):
        yield Finding("DAGSTER_HOME", "note", f"is {other}; the commands of wan-pipeline use {home}", "unset it")


def _simulator(settings: Settings) -> Iterator[Finding]:
    if settings.mode != "demo":
        return
    from wan_pipeline.money import Money
    from wan_pipeline.simulator.books import Books

    folder = settings.home / "simulator"
    if not (folder / "books.sqlite").exists():
        yield Finding("simulator", "ok", "has been asked for nothing yet")
        return
    books = Books(folder)
    yield Finding("simulator", "ok", f"its books: {len(books.jobs())} jobs, {Money(books.total_nanos())} simulated USD")


def _print(findings: list[Finding]) -> None:
    from rich.text import Text

    out = console()
    styles = {"ok": "green", "note": "yellow", "problem": "bold red"}
    for finding in findings:
        line = Text(f"{finding.status:<8}", style=styles[finding.status])
        line.append(f"{finding.check}: {finding.detail}", style="default")
        out.print(line)
        if finding.remedy:
            out.print(Text(f"         → {finding.remedy}"))
