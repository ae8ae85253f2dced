"""`wan-pipeline resolve`: a person's decision on a job that nobody knows about."""

from __future__ import annotations

import asyncio
import getpass
import shlex
from typing import TYPE_CHECKING

import click

from wan_pipeline.cli.console import print_json, say, usd
from wan_pipeline.cli.exits import WrongUseError
from wan_pipeline.cli.opened import open_installation
from wan_pipeline.cli.options import example, json_option

if TYPE_CHECKING:
    from wan_pipeline.defs.resources import OpenInstallation
    from wan_pipeline.spend.records import Job


@click.command(
    epilog=example(
        "wan-pipeline jobs --state ambiguous",
        "wan-pipeline resolve j0123456789ab --found 60ac7c34-3224-4b14-8e7d-0aa0db708325",
        'wan-pipeline resolve j0123456789ab --not-charged --note "not in the account, asked support"',
    )
)
@click.argument("job_id", metavar="JOB")
@click.option("--found", metavar="ID", help="The provider has it under this id: it is collected like any other.")
@click.option("--not-charged", is_flag=True, help="The provider never took it: the hold is given back.")
@click.option("--write-off", is_flag=True, help="It counts as spent, at the quote; its video is given up.")
@click.option("--note", default="", help="Why, for whoever reads the books.")
@json_option
def command(job_id: str, found: str | None, not_charged: bool, write_off: bool, note: str, as_json: bool) -> None:
    """Say what became of an ambiguous JOB. Buys nothing.

    A job is ambiguous when its request went out and no answer came back. Look for it in your account at the provider.
    """
    if [found is not None, not_charged, write_off].count(True) != 1:
        raise WrongUseError("say one of --found ID, --not-charged and --write-off")
    from wan_pipeline.cli.jobs import as_object
    from wan_pipeline.spend.errors import LedgerError

    with open_installation() as opened:
        said = f"{_person()}: {note.strip()}" if note.strip() else _person()
        ledger = opened.ledger
        try:
            job = _ambiguous(opened, job_id)
            if found is not None:
                provider_job_id = found.strip()
                _ask_provider(opened, job, provider_job_id)
                job = ledger.resolve_found(job_id, provider_job_id, f"found by {said}")
            elif not_charged:
                job = ledger.resolve_not_charged(job_id, said)
            else:
                job = ledger.resolve_write_off(job_id, said)
        except LedgerError as error:
            raise WrongUseError(f"{error}. `wan-pipeline jobs --state ambiguous` lists what can be resolved") from None
    if as_json:
        print_json(as_object(job))
    else:
        say(_told(job))


def _ambiguous(opened: OpenInstallation, job_id: str) -> Job:
    from wan_pipeline.spend.errors import LedgerError
    from wan_pipeline.spend.records import JobState

    job = opened.ledger.job(job_id)
    if job.state is not JobState.AMBIGUOUS:
        raise LedgerError(f"job {job.id} ({job.shot}) is {job.state}, not ambiguous")
    if job.simulated is not opened.simulated:
        wanted, here = ("demo", "live") if job.simulated else ("live", "demo")
        raise WrongUseError(f"job {job.id} was made in {wanted} mode, and WAN_MODE is {here}: set WAN_MODE={wanted}")
    return job


def _ask_provider(opened: OpenInstallation, job: Job, provider_job_id: str) -> None:
    """A slip of the pen would be asked for again and again: the provider has to know the id. Raises WrongUseError."""
    from wan_pipeline.providers.base import PollError
    from wan_pipeline.providers.catalog import find_model

    async def ask() -> object:
        async with opened.connect(job.provider) as client:
            return await client.poll(find_model(job.model), provider_job_id)

    if not provider_job_id:
        raise WrongUseError("--found wants the provider's id of the job")
    answer = asyncio.run(ask())
    if isinstance(answer, PollError):
        why = "does not know it" if answer.gone else "could not be asked"
        raise WrongUseError(f"--found {provider_job_id}: {job.provider} {why}: {answer.reason}. Nothing was changed")


def _told(job: Job) -> str:
    from wan_pipeline.spend.records import JobState

    match job.state:
        case JobState.SUBMITTED:
            return f"{job.shot}: job {job.id} goes on as {job.provider_job_id}; `wan-pipeline run` collects it"
        case JobState.RELEASED:
            return (
                f"{job.shot}: job {job.id} was not charged, its hold of {usd(job.quoted_high)} USD is given back; "
                f"`wan-pipeline run --shot {shlex.quote(job.shot)}` tries again"
            )
        case _:
            return (
                f"{job.shot}: job {job.id} is written off, {usd(job.billed)} USD count as spent; "
                f"`wan-pipeline run --new-take --shot {shlex.quote(job.shot)}` buys it once more"
            )


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "a person"
