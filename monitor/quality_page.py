"""What `proctord quality` says: each student's disagreement in each segment, with intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec
import sqlalchemy as sa

from monitor.alerts.figures import plain, utc
from monitor.estimation.quality import QualityEstimate
from monitor.estimation.weights import ALL, Evidence, Ranked, rank, together
from monitor.estimation.wording import bounds, number, percent
from monitor.store import evaluation

#: students that are shown, the one that was labelled last first
STUDENTS = 5
#: an e-value from which on it is told, and one beyond which its size tells nobody anything
SPEAKS, CERTAIN = 2, 1_000_000


class StudentQuality(msgspec.Struct, frozen=True, kw_only=True):
    """How one student does."""

    model: str
    serves: bool
    #: all traffic first, then the segments, most evidence against it first
    segments: tuple[QualityEstimate, ...]
    #: by segment: `stands out` among them or not, as far as this reading tells
    standing: dict[str, str]
    #: evidence against "every segment is within its tolerance": an e-value; 1: none
    together: float


def gather(connection: sa.Connection, champion: str) -> list[StudentQuality]:
    """Return the newest students that were judged, newest first."""
    found: dict[str, list[QualityEstimate]] = {}
    for estimate in evaluation.newest_estimates(connection):
        found.setdefault(estimate.model, []).append(estimate)
    newest = sorted(found.items(), key=lambda item: max(e.at for e in item[1]), reverse=True)
    return [_student(model, known, champion) for model, known in newest[:STUDENTS]]


def _student(model: str, known: Sequence[QualityEstimate], champion: str) -> StudentQuality:
    whole = [estimate for estimate in known if estimate.segment == ALL]
    parts = {estimate.segment: estimate for estimate in known if estimate.segment != ALL}
    ranked = rank(_evidence(parts.values()))
    return StudentQuality(
        model=model,
        serves=model == champion,
        segments=(*whole, *(parts[one.segment] for one in ranked)),
        standing={one.segment: _standing(one, len(ranked)) for one in ranked},
        together=_together([*whole, *parts.values()]),
    )


def _evidence(estimates: Iterable[QualityEstimate]) -> list[Evidence]:
    return [Evidence(one.segment, one.log_e, one.n) for one in estimates]


def _together(estimates: Sequence[QualityEstimate]) -> float:
    return math.exp(min(700.0, together(_evidence(estimates))))


def _standing(one: Ranked, among: int) -> str:
    return one.standing if among > 1 else ""


def lines(students: Sequence[StudentQuality]) -> list[str]:
    """Return the page as lines for a terminal.

    The recent figure is one look; that of the student's lifetime holds however often it is read.
    """
    if not students:
        return ["no window was judged yet"]
    return [line for student in students for line in _lines(student)]


def _lines(student: StudentQuality) -> list[str]:
    newest = max(estimate.at for estimate in student.segments)
    title = f"student {plain(student.model[:12])}" + (", serves" if student.serves else "")
    return [
        f"{title}; judged up to {utc(newest)}; {_odds(student.together)}",
        *(_line(one, student.standing.get(one.segment, "")) for one in student.segments),
        "",
    ]


def _odds(e_value: float) -> str:
    """Say how strong the evidence is that not every segment is within its tolerance.

    Of an e-value: under the tolerance it reaches x at most once in x lives (Ville, 1939).

    >>> [_odds(e_value) for e_value in (0.008, 20.4, 1e94)]  # doctest: +NORMALIZE_WHITESPACE
    ['nothing speaks against it in all segments together',
     'chance of such figures, all segments together, if all were within: at most 1 in 20',
     'chance of such figures, all segments together, if all were within: less than 1 in 1,000,000']
    """
    if e_value < SPEAKS:
        return "nothing speaks against it in all segments together"
    most = f"at most 1 in {number(int(e_value))}"
    if e_value > CERTAIN:
        most = f"less than 1 in {number(CERTAIN)}"
    return f"chance of such figures, all segments together, if all were within: {most}"


def _line(one: QualityEstimate, standing: str) -> str:
    name = "all traffic" if one.segment == ALL else plain(one.segment, 100)
    if one.recent is None or one.lifetime is None:
        return f"  {name:<24} no labels yet"
    words = one.state + (f", {standing}" if standing not in {"", one.state} else "")
    return (
        f"  {name:<24} last {number(one.recent_n)} labels {bounds(one.recent, 'one look')}; all "
        f"{number(one.n)} {bounds(one.lifetime, 'any number of looks')}; limit "
        f"{percent(one.tolerance)}; {words}"
    )
