"""A contract's terms in words, and what one contract changes of another.

Terms are plain values (`QualityContract.terms`), so that a contract which an earlier version of
proctord accepted can still be read: a term that nobody knows any more is shown as it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

#: what a difference says of a term that one of the two contracts does not have
ABSENT: Final = "not in it"
_SEGMENTS: Final = "segments"


class Term(NamedTuple):
    """How one term is written."""

    title: str
    words: Callable[[Any], str]
    #: whether a lower value is the stricter one
    limit: bool = False


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def _span(seconds: float) -> str:
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


TERMS: Final[Mapping[str, Term]] = MappingProxyType(
    {
        "tolerance": Term("accepted disagreement", _percent, limit=True),
        "teacher_tolerance": Term(
            "accepted errors of the teacher",
            lambda share: "none stated" if share is None else _percent(share),
            limit=True,
        ),
        "false_alarm_probability": Term(
            "false pages", lambda share: f"in {_percent(share)} of the students' lifetimes"
        ),
        "false_change_alarms_per_quarter": Term(
            "false reports of a change", lambda count: f"{count:g} a quarter"
        ),
        "accepted_loss": Term(
            "limit of a challenger",
            lambda share: "the accepted disagreement" if share is None else _percent(share),
            limit=True,
        ),
        "non_inferiority_margin": Term("worse than the champion by at most", _percent, limit=True),
        "daily_teacher_usd": Term("money for the teacher", lambda usd: f"${usd:,.2f} a day"),
        "cadence_seconds": Term(
            "retraining at the latest after", lambda s: _span(s) if s else "never by the calendar"
        ),
        "cool_down_seconds": Term("pause between retrainings", _span),
        "min_new_labels": Term("new labels that one needs", lambda count: f"{count:,}"),
        "approvers": Term(
            "approvers", lambda names: ", ".join(names) or "whoever may run proctord"
        ),
        "expires": Term("last day (UTC)", lambda day: str(day or "none")),
    }
)


def rows(terms: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a contract's terms as (title, words).

    >>> rows({"tolerance": 0.1, "segments": {"tier=gold": 0.05}})
    [('accepted disagreement', '10 %'), ('accepted disagreement of tier=gold', '5 %')]
    """
    found: list[tuple[str, str]] = []
    for name, value in terms.items():
        if name == _SEGMENTS:
            found += [(_of(segment).title, _percent(share)) for segment, share in value.items()]
        else:
            found.append((_term(name).title, _term(name).words(value)))
    return found


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return what a contract changes of the one before it, a sentence a term.

    >>> differences({"tolerance": 0.1, "segments": {}},
    ...             {"tolerance": 0.08, "segments": {"tier=gold": 0.05}})
    ['accepted disagreement: 10 % -> 8 % (stricter)', 'accepted disagreement of tier=gold: 10 % -> 5 % (stricter)']
    """
    found: list[str] = []
    for name in {**after, **before}:
        if name == _SEGMENTS:
            found += _of_segments(before, after)
        else:
            found.append(_difference(_term(name), _value(before, name), _value(after, name)))
    return [line for line in found if line]


def _value(terms: Mapping[str, Any], name: str) -> Any:
    return terms.get(name, msgspec.UNSET)


def _term(name: str) -> Term:
    return TERMS.get(name) or Term(name, str)


def _of(segment: str) -> Term:
    overall = TERMS["tolerance"]
    return overall._replace(title=f"{overall.title} of {segment}")


def _difference(term: Term, old: Any, new: Any) -> str:
    if old == new:
        return ""
    known: Sequence[Any] = [v for v in (old, new) if isinstance(v, int | float)]
    verdict = ""
    if term.limit and len(known) == 2:
        verdict = " (stricter)" if new < old else " (looser)"
    words = [ABSENT if v is msgspec.UNSET else term.words(v) for v in (old, new)]
    return f"{term.title}: {words[0]} -> {words[1]}{verdict}"


def _of_segments(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Compare segments by the tolerance that holds there: an unnamed one has that of all."""
    old, new = before.get(_SEGMENTS) or {}, after.get(_SEGMENTS) or {}
    return [
        _difference(
            _of(segment),
            old.get(segment, _value(before, "tolerance")),
            new.get(segment, _value(after, "tolerance")),
        )
        for segment in {**new, **old}
    ]
