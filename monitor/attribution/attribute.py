"""From two periods to ranked causes and one sentence for the alert."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from monitor.attribution import causes
from monitor.attribution.causes import Case, Cause, Verdict
from monitor.attribution.parts import (
    Part,
    Rate,
    Split,
    attributes,
    class_of,
    rates,
    segment_of,
    split,
)
from monitor.attribution.period import Loss, Period
from monitor.estimation.wording import number, percent
from schemas.samples import Sample
from schemas.signals import Interval

#: Labels of each period without which nothing is taken apart.
LEAST_LABELS: Final = 30
#: Standard errors from 0 at which the difference is told, and one part of it among many.
CLEAR: Final = 2.0
CLEAR_PART: Final = 3.0
#: A part is named when it makes this much of the difference.
MUCH: Final = 0.25
ALL: Final = 0.95

_RANK: Final[dict[Verdict, int]] = {"changed": 0, "unknown": 1, "unchanged": 2}


class Attribution(msgspec.Struct, frozen=True, kw_only=True):
    """Where a rise of the disagreement comes from, as far as the journal tells."""

    #: by predicted class, and by each attribute of the segments; empty with too few labels
    splits: tuple[Split, ...]
    #: the most likely first; those that are ruled out last
    causes: tuple[Cause, ...]
    #: all of it for people
    sentence: str


def attribute(before: Period, now: Period) -> Attribution:
    """Say where the difference in disagreement between two periods comes from.

    Guarantee: each split's parts add up to the difference exactly. A cause is called changed when
    its figures have a chance of at most 1 in 1,000 without it, and unchanged when what could have
    changed unseen is less than half of the difference. Everything else is called unknown.

    Assumptions: tickets that repeat, and sentinels, fare as the traffic does; windows of before
    show how clean traffic varies.
    """
    was, are = before.losses(), now.losses()
    if min(len(was), len(are)) < LEAST_LABELS:
        sentence = (
            f"not enough labels to say where it comes from: {len(was)} before, {len(are)} since"
        )
        return Attribution(splits=(), causes=(), sentence=sentence)
    splits = _splits(was, are)
    ranked = _ranked(Case.of(before, now, splits[0].difference))
    return Attribution(splits=splits, causes=ranked, sentence=_sentence(splits, ranked))


def _splits(was: Sequence[Loss], are: Sequence[Loss]) -> tuple[Split, ...]:
    named: list[tuple[str, Callable[[Sample], str]]] = [("class", class_of)]
    named += [(name, segment_of(name)) for name in attributes((*was, *are))]
    return tuple(split(name, rates(was, key), rates(are, key)) for name, key in named)


def _ranked(case: Case) -> tuple[Cause, ...]:
    student = causes.student(case)
    measured = (
        causes.judge(case),
        causes.teacher(case),
        student,
        causes.serving(case, student),
    )
    ranked = [*measured, _rest(case, causes.inputs(case), measured)]
    ranked.sort(key=lambda cause: (_RANK[cause.verdict], -(cause.points or 0.0)))
    return tuple(ranked)


def _rest(case: Case, inputs: Cause, measured: Sequence[Cause]) -> Cause:
    """Give to the inputs what no other cause explains, once each other cause has said its part."""
    others = [cause for cause in measured if cause.verdict != "unchanged"]
    if inputs.verdict != "changed" or any(cause.points is None for cause in others):
        return inputs
    left = case.difference - sum(cause.points or 0.0 for cause in others)
    return msgspec.structs.replace(inputs, points=left)


# --- words -----------------------------------------------------------------------------------


def _sentence(splits: Sequence[Split], ranked: Sequence[Cause]) -> str:
    by: dict[Verdict, list[Cause]] = {"changed": [], "unknown": [], "unchanged": []}
    for cause in ranked:
        by[cause.verdict].append(cause)
    parts = [_where(splits)]
    if by["changed"]:
        parts.append("changed: " + ", ".join(map(_with_points, by["changed"])))
    elif len(by["unknown"]) == 1 and _clear(splits[0]):
        parts.append(f"what is left is the {by['unknown'][0].name}")
    if by["unchanged"]:
        parts.append("as before: " + ", ".join(map(_cleared, by["unchanged"])))
    if by["unknown"]:
        parts.append("not known: " + ", ".join(f"{c.name} ({c.because})" for c in by["unknown"]))
    return "; ".join(parts)


def _clear(whole: Split) -> bool:
    return abs(whole.difference) >= CLEAR * whole.error


def _cleared(cause: Cause) -> str:
    """Name a cause that is ruled out; people doubt the teacher first, so its figures stand there."""
    return f"{cause.name} ({cause.because})" if cause.name == "teacher" else cause.name


def _where(splits: Sequence[Split]) -> str:
    whole = splits[0]
    figures = (
        f"{_rise(whole.before, whole.now)}, one look, {number(whole.before.labels)} and "
        f"{number(whole.now.labels)} labels"
    )
    if not _clear(whole):
        return f"no clear difference to the time before ({figures})"
    way = "more" if whole.difference > 0 else "less"
    told = f"{_points(abs(whole.difference))} points {way} than before ({figures})"
    part = _main_part(splits)
    return f"{told}, {_where_in(part, whole.difference)}" if part else f"{told}, in many parts"


def _main_part(splits: Sequence[Split]) -> Part | None:
    """Return the part that makes most of the difference for its share of the traffic."""
    found = [
        (part.effect / one.difference - (part.share_before + part.share_now) / 2, part)
        for one in splits
        for part in one.parts
        if part.effect / one.difference >= MUCH and _clear_part(part, one.difference)
    ]
    best = max(found, key=lambda pair: pair[0], default=None)
    return best[1] if best is not None and best[0] > 0 else None


def _clear_part(part: Part, difference: float) -> bool:
    """Whether the larger of a part's effects points the way of the difference, and is no chance."""
    larger = max(part.within, part.mix, key=abs)
    return larger * difference > 0 and abs(larger) >= CLEAR_PART * part.error


def _where_in(part: Part, difference: float) -> str:
    if part.effect / difference >= ALL:
        of = "all of it comes"
    else:
        of = f"{_points(abs(part.effect))} of the {_points(abs(difference))} come"
    if abs(part.within) >= abs(part.mix):
        return f"{of} from within `{part.name}` ({_rise(part.before, part.now)})"
    way = "more" if part.share_now > part.share_before else "less"
    shares = f"{percent(part.share_before)} -> {percent(part.share_now)} of the traffic"
    return f"{of} from {way} of `{part.name}` ({shares})"


def _rise(before: Rate, now: Rate) -> str:
    """Write two losses with their bounds, which are of one look."""
    was, are = before.interval, now.interval
    return (
        f"{percent(before.mean)} -> {percent(now.mean)}, 95 % intervals {_within(was)} and "
        f"{_within(are)} %"
    )


def _within(interval: Interval) -> str:
    return f"{100 * interval.lower:.1f} to {100 * interval.upper:.1f}"


def _with_points(cause: Cause) -> str:
    explains = "" if cause.points is None else f", {_points(cause.points)} points of it"
    return f"{cause.name} ({cause.because}{explains})"


def _points(share: float) -> str:
    return f"{100 * share:.1f}"
