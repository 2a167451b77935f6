"""The same question asked twice: whoever answers it otherwise than before has changed.

Nothing else tells apart a teacher that changed from a world that did: when the losses rise, both
look alike. But a question that stayed the same shows who did not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from monitor.attribution.period import Answered, Period
from monitor.estimation.beta_binomial import clopper_pearson

#: Share of answers that may differ although nothing changed, where it was not measured.
NOISE: Final = 0.05
#: Repeated questions of before from which that share is measured.
LEAST_REPEATS: Final = 20
#: As surprising a number of other answers as this is no chance.
SURPRISING: Final = 1e-3


class Repeats(NamedTuple):
    """Questions that were asked before, and how many of them are answered otherwise now."""

    asked: int
    changed: int
    #: share that differs by chance
    noise: float

    @property
    def surprise(self) -> float:
        """Chance of so many other answers or more, if nothing changed."""
        from scipy.special import betainc

        if not self.changed:
            return 1.0
        # binomial tail: P(X >= k) = I_noise(k, n - k + 1)
        return float(betainc(self.changed, self.asked - self.changed + 1, self.noise))

    @property
    def most(self) -> float:
        """Share of answers that changed beyond chance, at most (97.5 %); 1 where none was asked."""
        if not self.asked:
            return 1.0
        return max(0.0, clopper_pearson(self.changed, self.asked).upper - self.noise)

    @property
    def excess(self) -> float:
        """Share of answers that changed beyond chance, estimated."""
        return max(0.0, self.changed / self.asked - self.noise) if self.asked else 0.0


def of_teacher(before: Period, now: Period) -> Repeats:
    """Return the questions that the teacher answered twice: sentinels, and tickets of one text."""

    def answer(one: Answered) -> tuple[str, str] | None:
        return None if one.label.output is None else (one.sample.text, one.label.output)

    planted = [one for one in now.sentinels() if one.label.disagreement is not None]
    known = [one for one in before.sentinels() if one.label.disagreement is not None]
    return _compare(
        _answers(before.answered, answer),
        _answers(now.answered, answer),
        sentinels=(len(planted), sum(bool(one.label.disagreement) for one in planted)),
        sentinels_before=(len(known), sum(bool(one.label.disagreement) for one in known)),
    )


def of_student(before: Period, now: Period) -> Repeats:
    """Return the texts that one version of the student answered twice."""

    def answer(one: Answered) -> tuple[str, str] | None:
        if one.sample.served_by != "student":
            return None
        return f"{one.sample.model}\n{one.sample.text}", one.sample.output

    return _compare(_answers(before.answered, answer), _answers(now.answered, answer))


def _answers(
    answered: Iterable[Answered], answer: Callable[[Answered], tuple[str, str] | None]
) -> dict[str, list[str]]:
    """Return the answers to each question, in order; sentinels are counted apart."""
    found: dict[str, list[str]] = defaultdict(list)
    for one in answered:
        said = answer(one)
        if said is not None and one.sample.reason != "sentinel":
            found[said[0]].append(said[1])
    return found


def _compare(
    before: dict[str, list[str]],
    now: dict[str, list[str]],
    sentinels: tuple[int, int] = (0, 0),
    sentinels_before: tuple[int, int] = (0, 0),
) -> Repeats:
    """Hold each text's answers of now against its last one of before."""
    again = [(was[-1], are[0]) for text, are in now.items() if (was := before.get(text))]
    chance = [(was[0], was[-1]) for was in before.values() if len(was) > 1]
    asked = sentinels_before[0] + len(chance)
    changed = sentinels_before[1] + sum(one != two for one, two in chance)
    return Repeats(
        sentinels[0] + len(again),
        sentinels[1] + sum(one != two for one, two in again),
        (changed + 1) / (asked + 2) if asked >= LEAST_REPEATS else NOISE,
    )
