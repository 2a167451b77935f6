"""How the teacher stands: what people's answers came to, as a state with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from monitor.estimation import gold
from monitor.estimation.gold import MIN_GOLD, Agreement, Checked
from monitor.estimation.wording import bounds, number, percent, span
from schemas.signals import Interval
from schemas.teachers import TeacherStanding, TeacherState

#: of the tickets whose time is over, this share must have been answered: those that nobody
#: answered may be the harder ones
RESPONSE = 0.5


class Asked(NamedTuple):
    """How many tickets were drawn for people, and what became of them."""

    drawn: int
    answered: int
    #: drawn so long ago that nobody will answer any more
    unanswered: int

    @property
    def waiting(self) -> int:
        """Drawn, and still to be answered."""
        return self.drawn - self.answered - self.unanswered


def weigh(
    standing: TeacherStanding,
    *,
    checked: Sequence[Checked],
    labels: Agreement,
    asked: Asked,
    volunteered: int,
    tolerance: float | None,
    alarmed: bool,
) -> TeacherStanding:
    """Return a generation's standing in the light of what is known now.

    Parameters
    ----------
    checked: all its labels that people answered. labels: sums over those they were drawn from.
    tolerance: the share of wrong answers that is accepted of it.
    alarmed: its audit alarm has paged.

    `within` takes `MIN_GOLD` answers that put its error within the tolerance, and an alarm that
    is silent: it has, at any time, no more than the contract's chance to speak wrongly, and
    speaks in the end wherever the error is above.
    """
    error = gold.bounds(checked, [row.teacher for row in checked], labels)
    found = msgspec.structs.replace(
        standing,
        tolerance=tolerance,
        drawn=asked.drawn,
        answered=asked.answered,
        unanswered=asked.unanswered,
        volunteered=volunteered,
        error=error,
    )
    state = _state(found, alarmed=alarmed)
    return msgspec.structs.replace(found, state=state, reason=_reason(found, state))


def _state(found: TeacherStanding, *, alarmed: bool) -> TeacherState:
    if found.tolerance is None:
        return "no tolerance"
    if alarmed:
        return "out"
    if found.error is None:
        return "not enough gold"
    silent = found.unanswered > 0 and found.answered < RESPONSE * (
        found.answered + found.unanswered
    )
    return "unsure" if silent or found.error.estimate > found.tolerance else "within"


def _reason(found: TeacherStanding, state: TeacherState) -> str:
    if found.error is None:
        known = f"people answered {number(found.answered)} of the {MIN_GOLD} tickets that it takes"
        if state == "out":
            known += ", and found far more errors than are accepted"
    else:
        known = (
            f"the teacher is wrong in {percent(found.error.estimate)} of the tickets "
            f"({span(found.error)}, any number of looks), by {number(found.answered)} answers of "
            "people"
        )
    accepted = (
        "no teacher_tolerance was accepted"
        if found.tolerance is None
        else f"{percent(found.tolerance)} is accepted"
    )
    return f"{known}; {accepted}{_response(found)}"


def _response(found: TeacherStanding) -> str:
    if not found.unanswered:
        return ""
    of = found.answered + found.unanswered
    return f"; {number(found.unanswered)} of {number(of)} that were asked about stayed unanswered"


class StudentGold(msgspec.Struct, frozen=True, kw_only=True):
    """One student by people's answers."""

    model: str
    answered: int
    #: its disagreement with the teacher, over the labels people were drawn from; None: too few
    disagreement: Interval | None
    #: its share of wrong answers, and by how much agreement overstates its correctness
    error: Interval | None
    overstated: Interval | None

    @property
    def sentence(self) -> str:
        """The same for people."""
        agrees = "has too few labels to say how often it agrees with the teacher"
        if self.disagreement is not None:
            agrees = f"agrees with the teacher in {_share_left(self.disagreement)} of the tickets"
        if self.error is None or self.overstated is None:
            return f"{agrees}; people answered {self.answered} of {MIN_GOLD} it takes to say more"
        right = _share_left(self.error)
        return f"{agrees} and is right in {right}, any number of looks: {self._verdict()}"

    def _verdict(self) -> str:
        assert self.overstated is not None
        points = f"{100 * abs(self.overstated.estimate):.1f} points"
        if self.overstated.lower > 0:
            return f"agreement overstates correctness by {points}"
        if self.overstated.upper < 0:
            return f"agreement understates correctness by {points}"
        return "agreement and correctness do not differ measurably"


def _share_left(wrong: Interval) -> str:
    """Write the share that is not wrong, with its bounds."""
    right = Interval(1 - wrong.estimate, 1 - wrong.upper, 1 - wrong.lower)
    return bounds(right)


def student_gold(model: str, checked: Sequence[Checked], labels: Agreement) -> StudentGold:
    """Say how one student does by people's answers.

    >>> rows = [Checked(20.0, 0.0, 1.0, 1.0)] * 20 + [Checked(20.0, 0.0, 0.0, 0.0)] * 180
    >>> rows += [Checked(5.0, 1.0, 1.0, 0.0)] * 60
    >>> labels = Agreement.of([(0.0, 0.05)] * 4000 + [(1.0, 0.05)] * 400)
    >>> print(student_gold("m1", rows, labels).sentence)  # doctest: +NORMALIZE_WHITESPACE
    agrees with the teacher in 90.9 % (95 % interval 89.5 to 92.3 %) of the tickets and is right in
    81.8 % (95 % interval 75.2 to 88.5 %), any number of looks: agreement overstates correctness
    by 9.1 points
    """
    return StudentGold(
        model=model,
        answered=len(checked),
        disagreement=gold.agreement_bounds(labels),
        error=gold.bounds(checked, [row.student for row in checked], labels),
        overstated=gold.bounds(
            checked, [row.student - row.disagreement for row in checked], labels
        ),
    )
