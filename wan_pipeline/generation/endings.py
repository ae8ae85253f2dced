"""How one shot ends in a batch, in words and for a program: the `Finished` of every way that path.py and buying.py take."""

from __future__ import annotations

from collections.abc import Sequence

from wan_pipeline.generation import deferring
from wan_pipeline.generation.completion import Ending
from wan_pipeline.generation.events import Deferred, Finished, Progress, Verdict, VideoResult
from wan_pipeline.generation.gate import Closed, GateClosedError
from wan_pipeline.generation.tools import BatchTools
from wan_pipeline.money import ZERO, Money
from wan_pipeline.problems import Problem
from wan_pipeline.providers.base import Quote
from wan_pipeline.shots.shot import Shot
from wan_pipeline.spend.records import Job, JobState, OverBudget

_STOPPED = "the batch was stopped before it was bought; the next run makes it"


class Endings:
    """Of one shot. `quote` is set once it is known."""

    def __init__(self, shot: Shot, tools: BatchTools) -> None:
        self._shot = shot
        self._tools = tools
        self.quote: Quote | None = None

    def tell(self, state: JobState, note: str) -> None:
        """Progress, for a person who watches."""
        self._tools.emit(Progress(self._shot, state, note))

    def end(
        self,
        verdict: Verdict,
        reason: str = "",
        *,
        job: Job | None = None,
        video: VideoResult | None = None,
        billed: Money | None = ZERO,
        deferred: Deferred | None = None,
    ) -> Finished:
        job_id = job.id if job else None
        return Finished(self._shot, verdict, reason, video, job_id, self.quote, billed, deferred)

    def of_job(self, ending: Ending) -> Finished:
        """The shot's end by its job's."""
        video = ending.video
        billed = video.billed if video is not None else ending.job.billed
        return self.end(ending.verdict, ending.reason, job=ending.job, video=video, billed=billed)

    def not_ready(self, problems: Sequence[Problem]) -> Finished:
        return self.end(Verdict.NOT_READY, "; ".join(map(str, problems)) or "not ready")

    def stopped(self, job: Job | None = None) -> Finished:
        return self.end(Verdict.STOPPED, _STOPPED, job=job)

    def closed(self, error: GateClosedError) -> Finished:
        """The gate was closed before this shot was bought."""
        match error.kind:
            case Closed.STOPPED:
                return self.stopped()
            case Closed.UNREACHED:
                return self.put_off(f"not bought: {error.reason}")
            case Closed.DENIED:
                return self.end(Verdict.FAILED, f"not bought: {error.reason}")

    def over_budget(self, over: OverBudget, provider: str, job: Job | None = None) -> Finished:
        reason, deferred = deferring.over_budget(over, provider)
        return self.end(Verdict.DEFERRED, reason, job=job, deferred=deferred)

    @property
    def times_put_off(self) -> int:
        return self._tools.put_off.get(self._shot.key, 0)

    def put_off(self, reason: str, *, job: Job | None = None) -> Finished:
        """Made later, by itself: something that passes is in the way."""
        provider = (self._shot.model_id or "").partition("/")[0]
        now = self._tools.desk.parts.clock()
        needed = self.quote.high if self.quote else ZERO
        reason, deferred = deferring.unreached(reason, needed, provider, now, self.times_put_off)
        return self.end(Verdict.DEFERRED, reason, job=job, deferred=deferred)
