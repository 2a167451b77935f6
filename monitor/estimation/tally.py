"""What one closed window says of each student: counted tickets and told losses become scores.

The consumer counted every pair by stratum; the tickets that were drawn are known one by one. So
the score of every ticket is known without a row for each: counted less drawn is what was not
asked about, and all of those in a stratum have the same score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from monitor.estimation.scores import Belief, Scores, expectation, score
from monitor.sampling import Stratum
from schemas.windows import Moments, WindowSummary


class Drawn(NamedTuple):
    """A ticket that was drawn for the estimates, and what came of asking about it."""

    plan: int
    model: str
    stratum: int
    segments: tuple[str, ...]
    #: by the uniform draw, not because the student was likely to be wrong
    uniform: bool
    #: in [0, 1]; None: nobody told it in time, or the teacher abstained
    loss: float | None


class Tally(NamedTuple):
    """One student's tickets of one segment in one window."""

    model: str
    scores: Scores
    #: losses of the uniform draw
    uniform: Moments


def tally(
    window: WindowSummary,
    drawn: Iterable[Drawn],
    strata_of: Callable[[int, str], Sequence[Stratum]],
    *,
    prior: float,
    belief: Callable[[str], Belief | None],
) -> list[Tally]:
    """Return what a window says, a student at a time.

    Parameters
    ----------
    window: of one segment, closed.
    drawn: tickets that were counted in this slice, of any segment.
    strata_of: the table of a plan's version for a student.
    prior: what is expected of a ticket of which no calibration says more: the tolerance, so that
        tickets nobody asked about say nothing for or against it.
    belief: how far a student's calibration is believed, from earlier windows alone; None: not at
        all yet.
    """
    found: dict[str, _Sum] = {}
    mine: dict[tuple[int, str], list[Drawn]] = {}
    for ticket in drawn:
        if window.segment in ticket.segments:
            mine.setdefault((ticket.plan, ticket.model), []).append(ticket)
    for key, counts in sorted(window.strata.items()):
        version, _, model = key.partition("/")
        total = found.setdefault(model, _Sum())
        total.add(
            counts,
            mine.get((int(version), model), ()),
            strata_of(int(version), model),
            prior=prior,
            belief=belief(model),
        )
    end = window.start + window.length
    return [Tally(model, total.scores(end), total.uniform) for model, total in found.items()]


class _Sum:
    """Scores as they gather."""

    def __init__(self) -> None:
        self.values: Counter[float] = Counter()
        self.uniform = Moments()
        self.labels = self.lost = 0
        self.lowest = 0.0
        #: of the plans in use: (what is expected, probability) of their strata
        self.kinds: set[tuple[float | None, float]] = set()

    def add(
        self,
        counts: dict[int, int],
        drawn: Sequence[Drawn],
        strata: Sequence[Stratum],
        *,
        prior: float,
        belief: Belief | None,
    ) -> None:
        expected = [
            prior
            if stratum.expected is None or belief is None
            else expectation(stratum.expected, stratum.probability, belief)
            for stratum in strata
        ]
        silent = Counter(counts)
        for ticket in drawn:
            if ticket.loss is None:
                self.lost += 1
                continue
            silent[ticket.stratum] -= 1
            self.labels += 1
            x = score(expected[ticket.stratum], strata[ticket.stratum].probability, ticket.loss)
            self.values[x] += 1
            if ticket.uniform:
                self.uniform = self.uniform.merge(Moments(1, ticket.loss, ticket.loss**2))
        for place, count in silent.items():
            if count > 0:
                self.values[expected[place]] += count
        for g, stratum in zip(expected, strata, strict=True):
            self.lowest = max(self.lowest, -score(g, stratum.probability, 0.0))
            self.kinds.add((stratum.expected, stratum.probability))

    def scores(self, end: float) -> Scores:
        return Scores(
            at=end,
            values=tuple(self.values.items()),
            labels=self.labels,
            lost=self.lost,
            lowest=self.lowest,
            uniform=len(self.kinds) == 1 and next(iter(self.kinds))[0] is None,
        )
