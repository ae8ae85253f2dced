"""`wan-pipeline reconcile`: the ledger against the providers' own books, and a person's word on what differs."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from wan_pipeline.cli.console import Column, print_json, print_table, say, short_uri
from wan_pipeline.cli.exits import ALL_MADE, FAILED, WRONG_USE, WrongUseError
from wan_pipeline.cli.opened import open_installation
from wan_pipeline.cli.options import example, json_option
from wan_pipeline.problems import printable

if TYPE_CHECKING:
    from wan_pipeline.defs.resources import OpenInstallation
    from wan_pipeline.reconciliation.findings import Finding
    from wan_pipeline.reconciliation.reconciling import Reconciler, Reconciliation
    from wan_pipeline.reports.period import Period

_PROVIDERS = ("wavespeed", "aimlapi", "shortapi")
_SHOWN = 50


@click.command(
    short_help="Compare the ledger with the providers' own books.",
    epilog=example(
        "wan-pipeline reconcile --date 2026-08-31",
        "wan-pipeline reconcile --month 2026-08 --provider shortapi",
        'wan-pipeline reconcile --date 2026-08-31 --accept "credited by support, ticket 417" --finding 3f9a1c2b7d60',
    ),
)
@click.option("--date", "day", metavar="YYYY-MM-DD", help="A UTC day. Default: today.")
@click.option("--month", metavar="YYYY-MM", help="A UTC month.")
@click.option("--provider", "providers", type=click.Choice(_PROVIDERS), multiple=True, help="Only this one's books.")
@click.option("--accept", "reason", metavar="REASON", help="Explain findings: kept with your name and the date.")
@click.option("--finding", "keys", metavar="KEY", multiple=True, help="With --accept: this finding.")
@click.option("--all", "all_findings", is_flag=True, help="With --accept: all that are unexplained.")
@click.option("--by", "who", metavar="NAME", help="With --accept: who explains. Default: your user name.")
@click.option("--dry-run", is_flag=True, help="Say what would be corrected, and append nothing.")
@json_option
def command(
    day: str | None,
    month: str | None,
    providers: tuple[str, ...],
    reason: str | None,
    keys: tuple[str, ...],
    all_findings: bool,
    who: str | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Compare the ledger with the providers' own books, line by line.

    AI/ML API's transactions and WaveSpeed's billing are asked for; for any provider an invoice or usage CSV below
    invoices/ in the bucket is read by its mapping file (docs/reconciliation.md). What their evidence settles is corrected:
    an entry is appended, none is changed. What else differs stays unexplained until somebody accepts it. Writes
    reports/…/reconciliation-….csv and .json. Buys nothing.

    \b
    Exit status: 0 all is explained · 1 something is not · 2 wrong use, or books that could not be read
    """
    _check(day, month, reason, keys, who, all_findings=all_findings, dry_run=dry_run)
    period = _period(day, month)
    with open_installation() as opened:
        from wan_pipeline.reconciliation.publishing import publish

        reconciler = _reconciler(opened)
        asked = providers or _PROVIDERS
        invoices = reconciler.invoices()
        results = [reconciler.reconcile(name, period, invoices, dry_run=dry_run) for name in asked]
        if reason is not None:
            _accept(reconciler, results, reason, who or _person(), keys)
            results = [reconciler.reconcile(name, period, invoices) for name in asked]
        files = {} if dry_run else {result.provider: publish(result, opened.bucket) for result in results}
    if as_json:
        from wan_pipeline.reconciliation.publishing import as_object

        print_json([as_object(result) | {"files": files.get(result.provider, {})} for result in results])
    else:
        _print(period, results, files, dry_run=dry_run)
    return _status(results)


def _check(
    day: str | None,
    month: str | None,
    reason: str | None,
    keys: tuple[str, ...],
    who: str | None,
    *,
    all_findings: bool,
    dry_run: bool,
) -> None:
    if day is not None and month is not None:
        raise WrongUseError("say --date or --month, not both")
    if reason is None:
        if keys or all_findings or who is not None:
            raise WrongUseError("--finding, --all and --by go with --accept REASON")
        return
    if not reason.strip():
        raise WrongUseError("--accept wants a reason: why is it right as it is?")
    if bool(keys) == all_findings:
        raise WrongUseError("with --accept say which: --finding KEY (any number of times), or --all")
    if dry_run:
        raise WrongUseError("--dry-run appends nothing, so it can accept nothing: leave one of the two out")


def _period(day: str | None, month: str | None) -> Period:
    from wan_pipeline.reports.period import Period

    now = datetime.now(UTC)
    option, text = ("--month", month) if month is not None else ("--date", day)
    if text is None:
        return Period.day(now.date())
    wanted = 7 if option == "--month" else 10
    try:
        period = Period.parse(text)
    except ValueError:
        period = None
    if period is None or len(text) != wanted:
        raise WrongUseError(f"{option} {text!r}: write it as {'2026-08' if wanted == 7 else '2026-08-31'}")
    if not period.has_begun(now):
        raise WrongUseError(f"{text} has not begun: today is {now.date()} (UTC)")
    return period


def _reconciler(opened: OpenInstallation) -> Reconciler:
    from wan_pipeline.reconciliation.reconciling import Reconciler

    return Reconciler(opened.ledger, opened.bucket, opened.connect, opened.simulated)


def _accept(
    reconciler: Reconciler, results: list[Reconciliation], reason: str, who: str, keys: tuple[str, ...]
) -> None:
    from wan_pipeline.reconciliation.reconciling import chosen

    findings = [finding for result in results for finding in result.findings]
    if keys:
        picked, wrong = chosen(findings, keys)
        if wrong:
            known = ", ".join(finding.key[:12] for finding in findings if finding.is_open) or "none"
            raise WrongUseError(
                f"--finding {', '.join(wrong)}: no finding's key begins so, or several do. Unexplained are: {known}"
            )
    else:
        picked = findings
    open_ = [finding for finding in picked if finding.is_open]
    appended = reconciler.accept(open_, reason.strip(), who)
    unchanged = len(open_) - len(appended)
    say(f"accepted by {who}: {len(open_)}, of which {len(appended)} changed a bill and {unchanged} did not")


def _status(results: list[Reconciliation]) -> int:
    from wan_pipeline.reconciliation.reconciling import Verdict

    verdicts = {result.verdict for result in results}
    if verdicts & {Verdict.UNREADABLE, Verdict.NOT_READ}:
        return WRONG_USE
    return FAILED if Verdict.UNEXPLAINED in verdicts else ALL_MADE


def _print(period: Period, results: list[Reconciliation], files: dict[str, dict[str, str]], *, dry_run: bool) -> None:
    kind = "simulated" if results[0].simulated else "live"
    running = f"; the {period.word} is not over" if results[0].is_running else ""
    print(f"Reconciliation of {period} (UTC), {kind}{running}")
    print_table(
        [
            Column("provider"),
            Column("books"),
            Column("lines", right=True),
            Column("matched", right=True),
            Column("too early", right=True, spare=True),
            Column("findings", right=True),
            Column("ledger USD", right=True),
            Column("theirs USD", right=True),
            Column("result"),
        ],
        [row for result in results for row in _rows(result)],
    )
    for result in results:
        _print_one(result, dry_run=dry_run)
    written = [short_uri(uris["csv"]) for uris in files.values()]
    if written:
        print(f"Written: {', '.join(written)} (and .json)")


def _rows(result: Reconciliation) -> list[tuple[str, ...]]:
    rows = [
        (
            result.title,
            comparison.book.title,
            str(comparison.line_count),
            str(comparison.matched),
            str(comparison.pending),
            str(len(comparison.findings)),
            str(comparison.balance.ledger),
            str(comparison.balance.theirs),
            result.verdict.value,
        )
        for comparison in result.comparisons
    ]
    if not rows:
        what = result.verdict.value
        rows.append((result.title, "", "", "", "", "", str(result.billed), "", what))
    return rows


def _print_one(result: Reconciliation, *, dry_run: bool) -> None:
    if result.unasked is not None:
        _tell(f"{result.title}: nothing was bought there, and its books were not asked for: {result.unasked}")
    elif not result.comparisons and result.unread is None and not result.refused:
        jobs = f"{result.jobs} jobs are charged in the ledger" if result.jobs else "nothing was bought"
        _tell(
            f"{result.title}: no books: drop invoices/{result.provider}-{result.period.name}.csv and a mapping into the"
            f" bucket (docs/reconciliation.md); {jobs}"
        )
    if result.unread is not None:
        _tell(f"{result.title}: not read, so nothing is concluded: {result.unread}")
    for refused in result.refused:
        _tell(f"{result.title}: {refused.key} is refused whole:")
        for problem in refused.problems:
            _tell(f"  {problem}")
    for note in result.notes:
        _tell(f"{result.title}: {note}")
    for comparison in result.comparisons:
        if comparison.balance.ledger != comparison.balance.theirs or comparison.findings:
            steps = "; ".join(f"{what} {amount}" for what, amount in comparison.balance.lines)
            _tell(f"{result.title}, {comparison.book.title}: {steps} USD")
    for finding in (*result.corrected, *result.findings)[:_SHOWN]:
        _tell(f"  {_line(finding)}")
    for said in result.earlier[-_SHOWN:]:
        what = f'explained by {said.who} on {said.at:%Y-%m-%d}: "{said.reason}"'
        _tell(f"  {said.finding[:12]} no longer there, {what}: {said.what}")
    hidden = len(result.corrected) + len(result.findings) - _SHOWN
    if hidden > 0:
        _tell(f"  and {hidden} more: see the files")
    if result.unexplained and not dry_run:
        _tell('  Explain each: wan-pipeline reconcile … --accept "why" --finding KEY (or --all)')


def _tell(text: str) -> None:
    """One line; what stands in an invoice can hold colour codes, which are shown and not obeyed."""
    print(printable(text))


def _line(finding: Finding) -> str:
    said = finding.explanation
    reason = f' by {said.who} on {said.at:%Y-%m-%d}: "{said.reason}"' if said else ""
    return f"{finding.key[:12]} {finding.kind.value}, {finding.standing.value}{reason}: {finding.words}"


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "a person"
