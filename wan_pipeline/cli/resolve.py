"""`wan-pipeline resolve`: a person's decision on a job that nobody knows about. The rule is generation/deciding.py's."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from wan_pipeline.cli.console import print_json, say
from wan_pipeline.cli.exits import WrongUseError
from wan_pipeline.cli.opened import open_installation
from wan_pipeline.cli.options import example, json_option
from wan_pipeline.money import Money

if TYPE_CHECKING:
    from wan_pipeline.generation.deciding import Decision


class _Usd(click.ParamType[Money]):
    name = "USD"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Money:
        if isinstance(value, Money):
            return value
        try:
            amount = Money.usd(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        from wan_pipeline.generation.deciding import DecisionError, check_duplicate

        try:
            check_duplicate(amount)
        except DecisionError as error:
            self.fail(str(error), param, ctx)
        return amount


@click.command(
    epilog=example(
        "wan-pipeline jobs --state ambiguous",
        "wan-pipeline resolve j0123456789ab --found 60ac7c34-3224-4b14-8e7d-0aa0db708325",
        'wan-pipeline resolve j0123456789ab --not-charged --note "not in the account, asked support"',
        "wan-pipeline resolve j0123456789ab --write-off --allow-duplicate-up-to 0.50",
    )
)
@click.argument("job_id", metavar="JOB")
@click.option("--found", metavar="ID", help="The provider has it under this id: it is collected like any other.")
@click.option("--not-charged", is_flag=True, help="The provider never took it: the hold is given back.")
@click.option("--write-off", is_flag=True, help="It counts as spent, at the quote; its video is given up.")
@click.option(
    "--allow-duplicate-up-to",
    "duplicate_up_to",
    type=_Usd(),
    metavar="USD",
    help="With --not-charged or --write-off: the next run may buy the shot anew for at most this much, though JOB may turn "
    "out to be charged too.",
)
@click.option("--note", default="", help="Why, for whoever reads the books.")
@json_option
def command(
    job_id: str,
    found: str | None,
    not_charged: bool,
    write_off: bool,
    duplicate_up_to: Money | None,
    note: str,
    as_json: bool,
) -> None:
    """Say what became of an ambiguous JOB. Buys nothing.

    A job is ambiguous when its request went out and no answer came back. It is looked for by itself; `wan-pipeline jobs
    --state ambiguous` says what was seen. What that does not decide waits for you: look into your account at the
    provider. Who decided, and the note, stay in the ledger.
    """
    if [found is not None, not_charged, write_off].count(True) != 1:
        raise WrongUseError("say one of --found ID, --not-charged and --write-off")
    if found is not None and not found.strip():
        raise WrongUseError("--found wants the provider's id of the job")
    if found is not None and duplicate_up_to is not None:
        raise WrongUseError(
            "--allow-duplicate-up-to goes with --not-charged or --write-off: what is --found is collected, and nothing is"
            " to be bought twice"
        )
    from wan_pipeline.cli.jobs import as_object
    from wan_pipeline.generation.deciding import DecisionError, decide, told
    from wan_pipeline.generation.outlook import outlook

    decision = _decision(found, duplicate_up_to, note, not_charged=not_charged)
    with open_installation() as opened:
        try:
            job = decide(opened.ledger, opened.connect, job_id, decision, simulated=opened.simulated)
        except DecisionError as error:
            raise WrongUseError(str(error)) from None
        absent_after = timedelta(seconds=opened.settings.absent_after_seconds)
        view = outlook(opened.ledger, job, absent_after, datetime.now(UTC))
    if as_json:
        print_json(as_object(job, view))
    else:
        say(told(job, decision))


def _decision(found: str | None, duplicate_up_to: Money | None, note: str, *, not_charged: bool) -> Decision:
    from wan_pipeline.generation.deciding import Decision, Ending

    if found is not None:
        return Decision(Ending.FOUND, _person(), note, provider_job_id=found.strip())
    ending = Ending.NOT_CHARGED if not_charged else Ending.WRITE_OFF
    return Decision(ending, _person(), note, duplicate_up_to=duplicate_up_to)


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "a person"
