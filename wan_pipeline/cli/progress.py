"""What a person sees while shots are made: on a terminal a line for each shot in flight, elsewhere one when it is done."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from wan_pipeline.cli.console import console, say
from wan_pipeline.generation.events import GOOD_VERDICTS, Event, Finished, Inspected, Progress, Quoted, Verdict
from wan_pipeline.money import ZERO
from wan_pipeline.spend.records import JobState

if TYPE_CHECKING:
    from rich.console import RenderableType

_LINES = 16
_WORDS = {
    JobState.SUBMITTED: "the provider works on it",
    JobState.GENERATED: "collecting the video",
}


class Display(Protocol):
    """Listens to the engine's events; a context manager around their time. Called from several threads."""

    def __call__(self, event: Event) -> None: ...

    def say(self, text: str) -> None:
        """One line beside whatever is shown."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


def display(total: int) -> Display:
    """The one that suits stderr."""
    return _Live(total) if sys.stderr.isatty() else _Lines(total)


def told(event: Finished) -> str:
    """One line on a finished shot."""
    video = event.video
    if event.verdict in (Verdict.MADE, Verdict.REUSED) and video is not None:
        billed = "not said" if video.billed is None else f"{video.billed} USD"
        return f"{event.shot.key}: {event.verdict}, {video.model}, {video.duration_s:g} s, billed {billed}"
    return reason_line(event.shot.key, event.verdict, event.reason)


def reason_line(shot: str, verdict: Verdict, reason: str) -> str:
    """`shot: verdict: reason`, the verdict not twice where the reason begins with it."""
    return ": ".join(part for part in (shot, str(verdict), reason.removeprefix(f"{verdict}: ")) if part)


def noted(event: Progress) -> str | None:
    """What a person is told of a job under way: that a lost one was found, and what became of one that was asked for
    before the shot changed."""
    if event.note.startswith("found as "):
        return f"{event.shot.key}: a request whose answer was lost is {event.note} and goes on; it is not bought again"
    return f"{event.shot.key}: {event.note}" if event.note.startswith("take ") else None


class _Lines:
    """One plain line for each finished shot."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Finished):
            with self._lock:
                self._done += 1
                say(f"[{self._done}/{self._total}] {told(event)}")
        elif isinstance(event, Progress) and (note := noted(event)):
            say(note)

    def say(self, text: str) -> None:
        say(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None


class _Live:
    """rich's live display: the shots in flight, and a bar over all of them with what is spent."""

    def __init__(self, total: int) -> None:
        from rich.live import Live

        self._total = total
        self._lock = threading.Lock()
        self._began: dict[str, float] = {}
        self._states: dict[str, str] = {}
        self._verdicts: Counter[Verdict] = Counter()
        self._spent = ZERO
        self._live = Live(
            console=console(sys.stderr), get_renderable=self._picture, refresh_per_second=4, transient=True
        )

    def __call__(self, event: Event) -> None:
        key = event.shot.key
        with self._lock:
            match event:
                case Inspected():
                    self._began[key] = time.monotonic()
                    self._states[key] = "inspected"
                case Quoted():
                    self._states[key] = f"at most {event.quote.high} USD; waits for its turn"
                case Progress():
                    self._states[key] = _WORDS.get(event.state, str(event.state))
                case Finished():
                    self._states.pop(key, None)
                    self._verdicts[event.verdict] += 1
                    self._spent += event.billed or ZERO
        if isinstance(event, Finished) and event.verdict not in GOOD_VERDICTS:
            self.say(told(event))
        elif isinstance(event, Progress) and (note := noted(event)):
            self.say(note)

    def say(self, text: str) -> None:
        self._live.console.print(text, markup=False)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, traceback)

    def _picture(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        with self._lock:
            states = dict(self._states)
            done = sum(self._verdicts.values())
            counts = ", ".join(f"{count} {verdict}" for verdict, count in self._verdicts.most_common())
            spent = self._spent
        now = time.monotonic()
        # What has come furthest first: those that cost money by now.
        waiting = "waits for its turn"
        shown = sorted(states, key=lambda key: (states[key].endswith(waiting), self._began.get(key, now)))
        lines = Table.grid(padding=(0, 2))
        for key in shown[:_LINES]:
            lines.add_row(Text(key), Text(states[key]), Text(f"{now - self._began.get(key, now):.0f} s"))
        if len(shown) > _LINES:
            lines.add_row(Text(f"and {len(shown) - _LINES} more"))
        summary = Table.grid(padding=(0, 2))
        summary.add_row(
            ProgressBar(total=max(self._total, 1), completed=done, width=30),
            Text(f"{done} of {self._total}"),
            Text(f"billed {spent} USD"),
            Text(counts),
        )
        return Group(lines, summary)
