"""Reconciles the generated year with its providers' books, and holds what is found against what was planted in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path

from wan_pipeline.bucket import open_bucket
from wan_pipeline.money import Money
from wan_pipeline.reconciliation.findings import Finding, Kind
from wan_pipeline.reconciliation.reconciling import Reconciler, Reconciliation
from wan_pipeline.reports.period import Period
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline_tests.reports.year import Year
from wan_pipeline_tests.reports.year_books import (
    INVOICED,
    SOURCES,
    BookLine,
    connected,
    lines_of,
    statement_lines,
    topups,
)
from wan_pipeline_tests.reports.year_invoices import write_invoices
from wan_pipeline_tests.reports.year_planting import (
    A_NANO_OFF,
    DOUBLED,
    FOREIGN,
    MISSING,
    WRONG_DAY,
    Planted,
)

PROVIDERS = (INVOICED, *SOURCES)
_KINDS = {
    MISSING: Kind.MISSING_THERE,
    DOUBLED: Kind.DOUBLED,
    A_NANO_OFF: Kind.OTHER_AMOUNT,
    WRONG_DAY: Kind.WRONG_DAY,
    FOREIGN: Kind.MISSING_HERE,
}


def books_of(year: Year) -> list[BookLine]:
    """Every line of every provider, without an error in them."""
    since = year.end - timedelta(days=year.days)
    return [*topups(since, year.end), *(line for job in year.each_job() for line in lines_of(job))]


def reconciled(
    ledger: Ledger, folder: Path, periods: Sequence[Period], lines: Sequence[BookLine]
) -> Iterable[Reconciliation]:
    """Every period of every provider, corrected by nobody. The lines of the books were kept by earlier reconciliations."""
    bucket = open_bucket(str(folder))
    write_invoices(bucket, lines)
    ledger.statements.add(statement_lines(line for line in lines if line.provider in SOURCES))
    reconciler = Reconciler(ledger, bucket, connected(lines), simulated=False)
    invoices = reconciler.invoices()
    assert not invoices.refused
    for period in periods:
        for provider in PROVIDERS:
            found = reconciler.reconcile(provider, period, invoices, dry_run=True)
            check_balance(found)
            yield found


def check_balance(found: Reconciliation) -> None:
    """From the ledger's sum to the books', step by step."""
    for comparison in found.comparisons:
        steps = comparison.balance.lines
        assert Money.total(amount for _, amount in steps[:-1]) == steps[-1][1]


def check_findings(reconciliations: Iterable[Reconciliation], planted: Sequence[Planted]) -> None:
    """Each planted error is one finding, of its kind, on its day, whose words name the job and the line."""
    unnamed = {_name(each): each for each in planted}
    assert len(unnamed) == len(planted)
    surplus: list[str] = []
    for reconciliation in reconciliations:
        for finding in reconciliation.findings:
            each = unnamed.pop(_name_of(finding), None)
            if each is None:
                surplus.append(finding.words)
                continue
            assert finding.day == each.day, finding.words
            assert reconciliation.period.since.date() <= each.day < reconciliation.period.until.date()
            assert (each.job_id or each.line_id) in finding.words
            if each.error != MISSING:
                assert each.line_id in finding.words
            if each.error == A_NANO_OFF:
                assert abs(finding.difference.nanos) == 1
    missed = list(unnamed.values())
    assert (surplus, missed) == ([], []), (
        f"surplus {len(surplus)}: {surplus[:5]}; not found {len(missed)}: {missed[:5]}"
    )


def _name(each: Planted) -> tuple[Kind, str, str | None]:
    return _KINDS[each.error], each.provider, each.job_id or each.line_id


def _name_of(finding: Finding) -> tuple[Kind, str, str | None]:
    return finding.kind, finding.provider, finding.job.id if finding.job else finding.lines[0].line_id
