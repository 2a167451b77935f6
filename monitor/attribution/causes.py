"""What could have raised the disagreement, and what the journal says for and against each.

Each cause is asked by what only it can show: a frozen question answered otherwise, an answer
judged otherwise, another version, questions that are not as before. What was not asked is not
known, and is said to be so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal, TypeVar

import msgspec

from monitor.attribution import repeats
from monitor.attribution.moves import Move, move
from monitor.attribution.parts import model_of, rates, split
from monitor.attribution.period import Answered, Loss, Period
from monitor.attribution.repeats import SURPRISING, Repeats
from monitor.estimation.wording import number, percent

CauseName = Literal["inputs", "teacher", "student", "judge", "serving"]
Verdict = Literal["changed", "unchanged", "unknown"]
T = TypeVar("T")

#: A version, teacher or prompt is new when it has this share now, and less than SOME before.
NEW: Final = 0.05
SOME: Final = 0.01
#: Losses of one answer against one label that differ by more than this were judged otherwise.
ALIKE: Final = 1e-6
#: The share of abstentions is news when it rose by this.
ABSTAINS: Final = 0.05
INPUTS: Final = ("words", "text_length", "segments")
OUTPUTS: Final = ("classes", "confidence")


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """One cause and what speaks for or against it."""

    name: CauseName
    verdict: Verdict
    #: of the difference in disagreement, what it explains; None: nobody can say
    points: float | None = None
    #: the figures, in a few words
    because: str


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """What all causes are asked about."""

    before: Period
    now: Period
    difference: float
    moves: dict[str, Move | None]

    @classmethod
    def of(cls, before: Period, now: Period, difference: float) -> Case:
        """Return a case with what moved in all traffic."""
        names = (*INPUTS, *OUTPUTS, "latency_ms")
        moves = {name: move(name, before, now) for name in names}
        return cls(before=before, now=now, difference=difference, moves=moves)

    def surprising(self, features: Iterable[str]) -> list[Move]:
        """Return those of the features that moved, the clearest first."""
        found = [m for name in features if (m := self.moves[name]) is not None and m.surprising]
        return sorted(found, key=lambda one: one.p)

    def steady(self, features: Iterable[str]) -> bool:
        """Whether these features are known, and nothing speaks for a move of any."""
        return all((m := self.moves[name]) is not None and m.steady for name in features)

    def cleared(self, asked: Repeats) -> bool:
        """Whether the answers that may have changed are too few to make half of the difference."""
        return asked.most < abs(self.difference) / 2


def judge(case: Case) -> Cause:
    """Whether the comparator changed: one answer against one label has another loss than before."""
    was, are = case.before.losses(), case.now.losses()
    known = _mean_losses(was)
    again = [(one, one.loss - known[_pair(one)]) for one in are if _pair(one) in known]
    other = [change for _, change in again if abs(change) > ALIKE]
    weight = sum(one.weight for one in are)
    points = sum(one.weight * change for one, change in again) / weight if other else None
    new = _new(_shares(was, _comparator), _shares(are, _comparator))
    if new or other:
        named = f"comparator {', '.join(sorted(new))} judges now; " if new else ""
        because = f"{named}{len(other)} of {len(again)} repeated pairs of answers have another loss"
        return Cause(name="judge", verdict="changed", points=points, because=because)
    if not again:
        return Cause(name="judge", verdict="unknown", because="no pair of answers came twice")
    because = f"{number(len(again))} repeated pairs of answers have the same loss"
    return Cause(name="judge", verdict="unchanged", because=because)


def teacher(case: Case) -> Cause:
    """Whether the teacher changed: another name or prompt, or other answers to old questions."""
    was, are = _shares(case.before.answered, _teacher), _shares(case.now.answered, _teacher)
    asked = repeats.of_teacher(case.before, case.now)
    found = []
    if new := _new(was, are):
        found.append(f"{', '.join(sorted(new))} in place of {', '.join(sorted(was))}")
    if asked.surprise < SURPRISING:
        found.append(_otherwise(asked))
    was_silent, is_silent = _abstentions(case.before), _abstentions(case.now)
    usual = (was_silent.changed + 1) / (was_silent.asked + 2)
    silent = Repeats(is_silent.asked, is_silent.changed, usual)
    if silent.surprise < SURPRISING and silent.excess > ABSTAINS:
        found.append(f"it abstains on {_share(is_silent)} (before {_share(was_silent)})")
    if found:
        points = min(asked.excess, case.difference) if asked.surprise < SURPRISING else None
        return Cause(name="teacher", verdict="changed", points=points, because="; ".join(found))
    return _by_repeats("teacher", case, asked)


def student(case: Case) -> Cause:
    """Whether other versions of the student answer than before."""
    was, are = _versions(case.before), _versions(case.now)
    new = _new(was, are)
    if not are:
        return Cause(name="student", verdict="unknown", because="no window names a version")
    if not new:
        because = f"version {', '.join(map(_short, sorted(are)))} as before"
        return Cause(name="student", verdict="unchanged", because=because)
    because = ", ".join(
        f"{_short(name)} answers {percent(are[name])} of the traffic "
        f"(before {percent(was.get(name, 0.0))})"
        for name in sorted(new)
    )
    by_version = split(
        "version", *(rates(one.losses(), model_of) for one in (case.before, case.now))
    )
    return Cause(name="student", verdict="changed", points=by_version.mix, because=because)


def serving(case: Case, versions: Cause) -> Cause:
    """Whether the same version answers the same questions otherwise: broken, cut, misconfigured."""
    asked = repeats.of_student(case.before, case.now)
    slower = [m.words(case.before, case.now) for m in case.surprising(("latency_ms",))]
    if asked.surprise < SURPRISING:
        because = "; ".join([_otherwise(asked), *slower])
        points = min(asked.excess, case.difference)
        return Cause(name="serving", verdict="changed", points=points, because=because)
    moved = case.surprising(OUTPUTS)
    if moved and case.steady(INPUTS) and versions.verdict == "unchanged":
        said = [moved[0].words(case.before, case.now), *slower]
        because = f"{'; '.join(said)}; while the questions are as before"
        return Cause(name="serving", verdict="changed", because=because)
    if case.steady(OUTPUTS) and not case.cleared(asked):
        return Cause(
            name="serving", verdict="unchanged", because="its classes and confidence are as before"
        )
    return _by_repeats("serving", case, asked)


def inputs(case: Case) -> Cause:
    """Whether customers ask other things than before."""
    moved = case.surprising(INPUTS)
    if moved:
        # what the student takes the questions for says more than their words alone
        moved += case.surprising(("classes",))
        because = "; ".join(m.words(case.before, case.now) for m in moved)
        return Cause(name="inputs", verdict="changed", because=because)
    if case.steady(INPUTS):
        because = "words, lengths and segments are as before"
        return Cause(name="inputs", verdict="unchanged", because=because)
    known = any(case.moves[name] is not None for name in INPUTS)
    because = "the traffic moved a little" if known else "too few windows to compare"
    return Cause(name="inputs", verdict="unknown", because=because)


# --- figures ---------------------------------------------------------------------------------


def _by_repeats(name: CauseName, case: Case, asked: Repeats) -> Cause:
    if not asked.asked:
        return Cause(name=name, verdict="unknown", because="no old question was asked again")
    verdict: Verdict = "unchanged" if case.cleared(asked) else "unknown"
    return Cause(name=name, verdict=verdict, because=_otherwise(asked))


def _otherwise(asked: Repeats) -> str:
    return (
        f"{number(asked.changed)} of {number(asked.asked)} old questions answered otherwise, "
        f"{percent(asked.noise)} by chance"
    )


def _pair(one: Loss) -> tuple[str, str | None]:
    return one.sample.output, one.label.output


def _mean_losses(losses: Iterable[Loss]) -> dict[tuple[str, str | None], float]:
    sums: dict[tuple[str, str | None], tuple[int, float]] = {}
    for one in losses:
        n, total = sums.get(_pair(one), (0, 0.0))
        sums[_pair(one)] = (n + 1, total + one.loss)
    return {pair: total / n for pair, (n, total) in sums.items()}


def _comparator(one: Loss) -> str:
    return one.label.comparator


def _teacher(one: Answered) -> str:
    return f"{one.label.teacher} with prompt {one.label.prompt_hash[:8]}"


def _shares(found: Iterable[T], name_of: Callable[[T], str]) -> dict[str, float]:
    counts = Counter(map(name_of, found))
    return {name: count / counts.total() for name, count in counts.items()}


def _new(was: Mapping[str, float], are: Mapping[str, float]) -> set[str]:
    """Return the names that came; none where nobody knows what was there before."""
    if not was:
        return set()
    return {name for name, share in are.items() if share >= NEW and was.get(name, 0) < SOME}


def _abstentions(period: Period) -> Repeats:
    """Return how often the teacher was asked, and gave no answer."""
    asked = [one for one in period.answered if one.sample.reason != "sentinel"]
    return Repeats(len(asked), sum(one.label.output is None for one in asked), 0.0)


def _short(version: str) -> str:
    """Name a version as people are told of it elsewhere."""
    return version[:12]


def _share(silent: Repeats) -> str:
    return percent(silent.changed / silent.asked if silent.asked else 0.0)


def _versions(period: Period) -> dict[str, float]:
    """Return the shares of the student's versions in all traffic, whoever else answers."""
    students = {one.sample.model for one in period.answered if one.sample.served_by == "student"}
    counts: Counter[str] = Counter()
    for window in period.traffic():
        counts.update({m: n for m, n in window.models.items() if m in students})
    return {name: count / counts.total() for name, count in counts.items()}
