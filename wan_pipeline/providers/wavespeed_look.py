"""What became of a submission to WaveSpeed whose answer was lost.

Nothing of ours can be sent along, so a prediction is known by what was asked for and when. The list of predictions is the
first witness: made in the hours around the submission, of our model, with our settings and our inputs' keys, unknown to
the ledger, the only one such, and known to the poll: that is found. Whether rows hold their inputs nobody documents (its
own samples show none); one without is asked for by itself, and where that tells nothing either it is a candidate for a
person. While any such is left, none is "the only one". Billing is the second
witness: a deduction for a prediction that neither the ledger knows nor the list shows to be another keeps anybody from
saying "absent". WaveSpeed forgets after seven days, so an older submission is never "absent".
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from wan_pipeline.providers.base import LostSubmission, SearchResult, Sighting, Testimony
from wan_pipeline.providers.looking import (
    CLOCK_SKEW,
    Candidate,
    Poll,
    UnreadError,
    Window,
    found,
    known_of,
    listed,
    same_model,
    together,
    verified,
)
from wan_pipeline.providers.wavespeed_books import BILLINGS, PREDICTIONS, Books, Prediction
from wan_pipeline.providers.wavespeed_match import Likeness, compare

KEEPS = timedelta(days=7)
# A POST lasts five minutes at most: whatever the clocks say, its prediction is made within this of `sent_at`.
_MADE_WITHIN = CLOCK_SKEW + timedelta(hours=1)
_ASKED_AT_MOST = 20  # rows without inputs, one by one; the others stay unclear


class WaveSpeedLook:
    """One look for one lost submission."""

    def __init__(self, lost: LostSubmission, books: Books, poll: Poll) -> None:
        self._lost = lost
        self._books = books
        self._poll = poll
        self._window = Window.around(lost, _MADE_WITHIN)
        self._asked = 0

    async def look(self) -> SearchResult:
        try:
            predictions = await self._books.predictions(self._window)
        except UnreadError as error:
            return together([Testimony(PREDICTIONS, Sighting.UNREACHABLE, str(error))])
        known = await known_of(self._lost, [row.id for row in predictions])
        try:
            predictions = [row if row.id in known else await self._with_inputs(row) for row in predictions]
        except UnreadError as error:
            return together([Testimony(PREDICTIONS, Sighting.UNREACHABLE, str(error))])
        likeness = {row.id: self._likeness(row) for row in predictions}
        open_ = [row for row in predictions if likeness[row.id] is not Likeness.OTHER and row.id not in known]
        matches = [row for row in open_ if likeness[row.id] is Likeness.MATCH]
        candidates = [Candidate(row.id, row.status) for row in open_]
        read = f"{len(predictions)} predictions from {self._window}, read to the end"
        if len(matches) == 1 and not any(row.inputs is None for row in open_):
            return await self._verify(matches[0], read, candidates)
        testimonies = [self._listing(read, matches, candidates)]
        billing, charged = await self._billing(
            others={each for each, like in likeness.items() if like is Likeness.OTHER}
        )
        return together([*testimonies, billing], [*candidates, *charged])

    # --- the list ---

    async def _with_inputs(self, row: Prediction) -> Prediction:
        """A row of the list that says too little is asked for by itself; only so many of them."""
        if row.inputs is not None or self._asked >= _ASKED_AT_MOST or self._likeness(row) is Likeness.OTHER:
            return row
        self._asked += 1
        return await self._books.looked_at(row)

    def _likeness(self, row: Prediction) -> Likeness:
        if not same_model(row.model, self._lost.model.upstream_id) or self._window.excludes(row.created_at):
            return Likeness.OTHER
        if row.inputs is None:
            return Likeness.UNCLEAR
        like = compare(self._lost.arguments, self._lost.input_keys, row.inputs)
        # What cannot be dated, or names no model, proves nothing.
        unproven = row.created_at is None or row.model != self._lost.model.upstream_id
        return Likeness.UNCLEAR if like is Likeness.MATCH and unproven else like

    async def _verify(self, row: Prediction, read: str, candidates: Sequence[Candidate]) -> SearchResult:
        what = f"{read}: {row.id} ({row.status}) has this request's settings and inputs, and nobody else claims it"
        polled = await verified(self._poll, row.id)
        seen = Testimony(PREDICTIONS, Sighting.FOUND, what)
        match polled.sighting:
            case Sighting.FOUND:
                return found([seen, polled], row.id, others=[each.id for each in candidates if each.id != row.id])
            case Sighting.UNREACHABLE:
                return together([seen, polled], candidates)
            case _:
                return together([Testimony(PREDICTIONS, Sighting.UNSURE, what), polled], candidates)

    def _listing(self, read: str, matches: Sequence[Prediction], candidates: Sequence[Candidate]) -> Testimony:
        if matches:
            these = listed([Candidate(row.id, row.status) for row in matches])
            others = "" if len(matches) > 1 else f"; and others do not show what was asked for: {listed(candidates)}"
            text = f"{read}: with this request's settings and inputs: {these}{others}"
            return Testimony(PREDICTIONS, Sighting.UNSURE, text)
        if candidates:
            text = f"{read}: these may be it, and do not show what was asked for: {listed(candidates)}"
            return Testimony(PREDICTIONS, Sighting.UNSURE, text)
        if self._lost.now - self._window.start >= KEEPS:
            text = (
                f"{read}: none is like it; but it was sent on {self._lost.sent_at:%Y-%m-%d}, and WaveSpeed lists 7 days"
            )
            return Testimony(PREDICTIONS, Sighting.UNSURE, text)
        return Testimony(PREDICTIONS, Sighting.ABSENT, f"{read}: none is like it")

    # --- billing ---

    async def _billing(self, others: set[str]) -> tuple[Testimony, list[Candidate]]:
        """`others`: predictions that are certainly not the lost one."""
        try:
            deductions = await self._books.deductions(self._window)
        except UnreadError as error:
            return Testimony(BILLINGS, Sighting.UNREACHABLE, str(error)), []
        open_ = [
            each
            for each in deductions
            if each.prediction_id not in others
            and same_model(each.model, self._lost.model.upstream_id)
            and not self._window.excludes(each.created_at)
        ]
        known = await known_of(self._lost, [each.prediction_id for each in open_ if each.prediction_id is not None])
        nameless = [each for each in open_ if each.prediction_id is None]
        candidates = [
            Candidate(each.prediction_id, "" if each.amount is None else f"{each.amount} USD")
            for each in open_
            if each.prediction_id is not None and each.prediction_id not in known
        ]
        read = f"{len(deductions)} deductions from {self._window}, read to the end"
        if not nameless and not candidates:
            return Testimony(BILLINGS, Sighting.ABSENT, f"{read}: all of them are accounted for"), []
        parts = [f"{len(nameless)} for no prediction that it names"] if nameless else []
        parts += [f"not in the ledger: {listed(candidates)}"] if candidates else []
        text = f"{read}: there are deductions that may be this one's: {'; '.join(parts)}"
        return Testimony(BILLINGS, Sighting.UNSURE, text), candidates
