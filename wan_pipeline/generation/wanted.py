"""What a shot wants to be bought: its request, frozen and priced, before anybody has asked whether it is there already."""

from __future__ import annotations

from dataclasses import dataclass

from wan_pipeline.generation.inspection import Inspection
from wan_pipeline.providers.base import Model, Order, Quote, request_hash
from wan_pipeline.shots.shot import Shot
from wan_pipeline.spend.records import JobRequest


@dataclass(frozen=True, slots=True)
class Wanted:
    """A shot that may be bought: its model, order, inputs and price."""

    model: Model
    order: Order
    inspection: Inspection
    quote: Quote
    frozen: JobRequest

    @classmethod
    def of(
        cls, shot: Shot, order: Order, model: Model, inspection: Inspection, *, simulated: bool, run_id: str | None
    ) -> Wanted:
        inputs = inspection.inputs
        quote = model.quote(order, inputs)
        frozen = JobRequest(
            shot=shot.key,
            provider=model.provider,
            model=model.id,
            request_hash=request_hash(model, order, inputs),
            own_digest=inspection.digest,
            arguments=model.body(order, {item.slot: f"sha256:{item.sha256}" for item in inputs}),
            inputs=tuple({"slot": str(item.slot), "key": item.key, "sha256": item.sha256} for item in inputs),
            duration_s=order.duration_s,
            resolution=order.resolution,
            has_audio=order.has_audio,
            campaign=shot.campaign,
            quoted_low=quote.low,
            quoted_high=quote.high,
            simulated=simulated,
            run_id=run_id,
        )
        return cls(model, order, inspection, quote, frozen)
