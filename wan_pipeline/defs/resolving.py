"""`resolve_job`: a person's decision on an ambiguous job, from the UI's launchpad. The rule is generation/deciding.py's."""

# No `from __future__ import annotations`: Dagster and pydantic read these annotations when the classes are made.

from typing import Literal

import dagster as dg
from pydantic import Field

from wan_pipeline.defs import names
from wan_pipeline.defs.failures import retried_where_it_passes, told_plainly
from wan_pipeline.defs.resources import Installation
from wan_pipeline.defs.run_marks import marked_run
from wan_pipeline.defs.run_tags import NO_RUN_RETRIES
from wan_pipeline.generation.deciding import Decision, DecisionError, Ending, decide, told
from wan_pipeline.money import Money


class Word(dg.Config):
    """What a person has found out. The asset `budgets` lists the ambiguous jobs."""

    job: str = Field(description="The ambiguous job's id in the ledger: j0123456789ab")
    decision: Literal["found", "not_charged", "write_off"] = Field(
        description=(
            "found: the provider has it (say provider_job_id), it is collected. not_charged: it never got there, its hold"
            " is given back. write_off: it counts as spent, at the quote."
        )
    )
    provider_job_id: str = Field("", description="With found: under which id the provider has it.")
    allow_duplicate_up_to_usd: str = Field(
        "",
        description=(
            "With not_charged or write_off: the next run may buy the shot anew for at most so much, though this one may"
            " turn out to be charged too. Without it, the shot stands."
        ),
    )
    note: str = Field("", description="Why, for whoever reads the books.")


@dg.op(
    name="decide",
    description="Writes the decision into the ledger. For `found` the provider is asked first. Buys nothing.",
)
def decide_op(context: dg.OpExecutionContext, config: Word, installation: Installation) -> None:
    """One decision."""
    with told_plainly(), retried_where_it_passes(context), marked_run(context, installation) as opened:
        decision = _decision(config, context.run_id)
        job = decide(opened.ledger, opened.connect, config.job.strip(), decision, simulated=opened.simulated)
        context.log.info(told(job, decision))
        metadata = {"job": job.id, "shot": job.shot, "state": str(job.state), "said": decision.said}
        context.add_output_metadata(metadata)


@dg.job(
    name=names.RESOLVE_JOB,
    description=(
        "A person's word on an ambiguous job: found, not charged, or written off. The same as `wan-pipeline resolve`."
    ),
    tags={"spends": "nothing", **NO_RUN_RETRIES},
    executor_def=dg.in_process_executor,
)
def resolve_job() -> None:
    """One op."""
    decide_op()


def _decision(config: Word, run_id: str) -> Decision:
    return Decision(
        ending=Ending(config.decision),
        who=f"somebody in Dagster's UI (run {run_id[:8]})",
        note=config.note,
        provider_job_id=config.provider_job_id or None,
        duplicate_up_to=_amount(config.allow_duplicate_up_to_usd),
    )


def _amount(text: str) -> Money | None:
    if not text.strip():
        return None
    try:
        return Money.usd(text)
    except ValueError as error:
        raise DecisionError(f"allow_duplicate_up_to_usd: {error}") from None
