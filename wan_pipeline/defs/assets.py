"""The three assets of a shot, in one op over a range of shots: source_images, shot_quotes, generated_videos.

The form is the one in which run, backfill and catalog agree on partial success: every output skippable, each shot
logged as it gets there, no output yielded, and a Failure at the end if any shot is not done. A backfill then shows what
is materialized and what failed, and its retry asks for the failed shots alone.
"""

# No `from __future__ import annotations`: Dagster compares the context's annotation with its classes.

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, nullcontext

import dagster as dg

from wan_pipeline.defs import names
from wan_pipeline.defs.batches import Batches
from wan_pipeline.defs.failures import retried_where_it_passes, told_plainly
from wan_pipeline.defs.partitions import MAX_SHOTS_PER_RUN, shot_partitions
from wan_pipeline.defs.quote_totals import QuoteTotals
from wan_pipeline.defs.ranges import keys_asked_for
from wan_pipeline.defs.resources import Installation, OpenInstallation
from wan_pipeline.defs.run_marks import marked_run
from wan_pipeline.defs.run_tags import claim_options
from wan_pipeline.defs.shot_log import ShotLog
from wan_pipeline.generation.events import Stage
from wan_pipeline.shots.shot import Shot
from wan_pipeline.spend.records import ClaimOptions

_specs = [
    dg.AssetSpec(
        names.SOURCE_IMAGES,
        description="A shot's input files and settings, read, hashed and probed against its model's documented limits.",
        group_name="inbox",
        kinds={"image", "s3"},
        tags={"spends": "nothing"},
        owners=names.OWNERS,
        partitions_def=shot_partitions,
        skippable=True,
    ),
    dg.AssetSpec(
        names.SHOT_QUOTES,
        deps=[names.SOURCE_IMAGES],
        description=(
            "What a shot will cost, at least and at most, by its model's price rule. Quoting buys nothing.\n\n"
            "At the end of each run an observation has the sums by model and campaign. A run that quotes and does not buy "
            "(the job `quote_shots`) shows there too what is left of each budget, what providers say of the prices, and "
            "how many days it takes."
        ),
        group_name="videos",
        kinds={"python"},
        tags={"spends": "nothing"},
        owners=names.OWNERS,
        partitions_def=shot_partitions,
        skippable=True,
    ),
    dg.AssetSpec(
        names.GENERATED_VIDEOS,
        deps=[names.SOURCE_IMAGES, names.SHOT_QUOTES],
        description=(
            "The finished, checked video of a shot: bought once, collected into the bucket, its cost in the ledger.\n\n"
            "Materializing a shot that is bought already buys nothing; nor does it where only a `_defaults.yaml` has "
            "changed. Run tags decide otherwise: `wan/new_take=true` buys this very request again, `wan/outdated=true` "
            "makes outdated shots anew, `wan/collect_only=true` buys nothing and collects what is in flight."
        ),
        group_name="videos",
        kinds={"video", "ai"},
        tags={"spends": "money"},
        owners=names.OWNERS,
        partitions_def=shot_partitions,
        skippable=True,
    ),
]

_check_specs = [
    dg.AssetCheckSpec(
        names.WITHIN_LIMITS,
        asset=names.SOURCE_IMAGES,
        description="The shot's settings and files are within its model's documented limits.",
        partitions_def=shot_partitions,
    ),
    dg.AssetCheckSpec(
        names.PLAYABLE,
        asset=names.GENERATED_VIDEOS,
        description="The video can be decoded from its first frame to its last.",
        partitions_def=shot_partitions,
    ),
    dg.AssetCheckSpec(
        names.AS_ORDERED,
        asset=names.GENERATED_VIDEOS,
        description="Seconds, size and sound are those that were ordered.",
        partitions_def=shot_partitions,
    ),
    dg.AssetCheckSpec(
        names.BILLED_AS_QUOTED,
        asset=names.GENERATED_VIDEOS,
        description="What was billed lies between the lower and the upper bound of the quote.",
        partitions_def=shot_partitions,
    ),
]


@dg.multi_asset(
    name="shots_to_videos",
    specs=_specs,
    check_specs=_check_specs,
    can_subset=True,
    backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=MAX_SHOTS_PER_RUN),
    pool=names.POOL,
    op_tags={"wan/op": "shots_to_videos"},
)
def shots_to_videos(context: dg.AssetExecutionContext, installation: Installation) -> Iterator[None]:
    """Run the engine over the run's shots, and log what it tells."""
    yield from ()  # a generator that yields nothing: every output is skipped, all is logged
    assets, checks = context.selected_asset_keys, context.selected_asset_check_keys
    with told_plainly(), ExitStack() as stack:
        with retried_where_it_passes(context):
            opened = stack.enter_context(marked_run(context, installation))
            options = claim_options(context.run.tags)
            if names.GENERATED_VIDEOS not in assets:
                # Checks alone, without their asset: look at what is there.
                options = ClaimOptions(collect_only=True)
            stage = _stage(assets, checks)
            if stage is Stage.GENERATE:
                opened.check()
            shots, gone = _shots_of(opened, _keys_of(context))
        totals = None
        if names.SHOT_QUOTES in assets and (stage is Stage.QUOTE or not options.collect_only):
            totals = QuoteTotals(context, opened, whole=stage is Stage.QUOTE)
        log = ShotLog(context, assets, checks, opened.settings.public_base_url, totals)
        with totals.shown_at_the_end() if totals is not None else nullcontext():
            Batches(context, opened, log, stage, options).work(shots, gone)


def _stage(assets: Collection[dg.AssetKey], checks: Collection[dg.AssetCheckKey]) -> Stage:
    """As far as what is selected asks for, and no further."""
    wanted = {*assets, *(check.asset_key for check in checks)}
    if names.GENERATED_VIDEOS in wanted:
        return Stage.GENERATE
    return Stage.QUOTE if names.SHOT_QUOTES in wanted else Stage.INSPECT


def _keys_of(context: dg.AssetExecutionContext) -> Sequence[str]:
    """The run's partitions, without reading all there are; where its range is none, Dagster says so. Raises ProblemsError
    for a range that has come to mean other shots."""
    asked = context.partition_key_range
    return keys_asked_for(context.instance, context.run_id, asked.start, asked.end) or context.partition_keys


def _shots_of(opened: OpenInstallation, keys: Sequence[str]) -> tuple[list[Shot], list[str]]:
    """The shots with these keys, and those keys whose files are in the bucket no more."""
    found = {shot.key: shot for shot in opened.discover_some(keys)}
    return [found[key] for key in keys if key in found], [key for key in keys if key not in found]
