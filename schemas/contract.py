"""The quality loss accepted up front: what proctord holds a student to."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator
from typing import Any, Final

import msgspec

#: probabilities and shares that have no meaning at 0 or 1
_SHARES: Final = ("tolerance", "false_alarm_probability", "non_inferiority_margin")
_OPTIONAL_SHARES: Final = ("teacher_tolerance", "accepted_loss")
_AMOUNTS: Final = ("daily_teacher_usd", "cadence_seconds", "cool_down_seconds")


class QualityContract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was accepted, by whom it may be changed, and what proctord may spend on watching it.

    A segment's tolerance may be stricter than the overall one or looser. The overall tolerance is
    a mean, so some of its parts lie above it: were looser ones refused, one hard segment that
    everybody accepts could only be had by loosening the limit of all traffic. The overall stream
    is held to `tolerance` whatever its segments are held to.

    >>> contract = QualityContract(tolerance=0.1, segments={"tier=gold": 0.05})
    >>> contract.tolerance_of("tier=gold"), contract.tolerance_of("tier=basic")
    (0.05, 0.1)
    """

    #: mean disagreement with the teacher that is accepted, in (0, 1)
    tolerance: float
    #: segment (`channel=mail`) -> the tolerance of its traffic, in (0, 1); others: `tolerance`
    segments: dict[str, float] = {}
    #: share of the teacher's answers that people may correct; None: nobody accepted one
    teacher_tolerance: float | None = None
    #: probability of ever paging although the disagreement never left the tolerance
    false_alarm_probability: float = 0.01
    #: changes of disagreement that may be reported a quarter, on average, although there is none
    false_change_alarms_per_quarter: float = 0.1
    #: a challenger's disagreement on recent traffic must be below this, with 95 % confidence;
    #: None: the tolerance
    accepted_loss: float | None = None
    #: how much worse than the champion a challenger may be, with 95 % confidence
    non_inferiority_margin: float = 0.02
    #: money that the teacher may cost a day, US dollars
    daily_teacher_usd: float = 5.0
    #: a retraining is due at the latest after this, seconds; 0: never by cadence
    cadence_seconds: float = 30 * 86400.0
    #: no retraining sooner after the last one than this, seconds
    cool_down_seconds: float = 6 * 3600.0
    #: new labelled rows without which there is nothing to learn from
    min_new_labels: int = 500
    #: who may accept a contract with `proctord contract accept`; empty: whoever may run it
    approvers: tuple[str, ...] = ()
    #: the last day (UTC) on which it holds; None: until another one is accepted
    expires: dt.date | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises
        ------
        ValueError: naming the field, what it is and what it must be.
        """
        fault = next(self._faults(), None)
        if fault is not None:
            raise ValueError(fault)

    def _faults(self) -> Iterator[str]:
        optional = [n for n in _OPTIONAL_SHARES if getattr(self, n) is not None]
        shares = {name: getattr(self, name) for name in (*_SHARES, *optional)}
        shares |= {f"segments.{name}": value for name, value in self.segments.items()}
        for name, value in shares.items():
            if not 0 < value < 1:
                yield f"{name} is {value}; it must lie between 0 and 1, both excluded"
        for name in _AMOUNTS:
            if not 0 <= getattr(self, name) < float("inf"):
                yield f"{name} is {getattr(self, name)}; it must be 0 or a positive number"
        for name in self.segments:
            if "=" not in name.strip("="):
                yield f"segments.{name}: a segment is written attribute=value, as channel=mail"
        if not 0 < self.false_change_alarms_per_quarter < float("inf"):
            value = self.false_change_alarms_per_quarter
            yield f"false_change_alarms_per_quarter is {value}; it must be above 0"
        if self.min_new_labels < 1:
            yield f"min_new_labels is {self.min_new_labels}; it must be 1 or more"
        if "" in self.approvers or len(set(self.approvers)) != len(self.approvers):
            yield f"approvers is {list(self.approvers)}; each name stands once and is not empty"

    def tolerance_of(self, segment: str) -> float:
        """Return the mean disagreement that is accepted in a segment; `*`: in all traffic."""
        return self.segments.get(segment, self.tolerance)

    def expired(self, now: float) -> bool:
        """Say whether its last day is over. `now`: seconds UTC."""
        return now >= self.expires_at

    @property
    def expires_at(self) -> float:
        """The end of its last day, seconds UTC; infinity: it does not expire."""
        return float("inf") if self.expires is None else end_of(self.expires)

    @property
    def gate_limit(self) -> float:
        """The disagreement that a challenger's upper bound must stay below."""
        return self.tolerance if self.accepted_loss is None else self.accepted_loss

    @property
    def terms(self) -> dict[str, Any]:
        """The contract in plain values, as JSON knows them."""
        found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return found

    @property
    def hash(self) -> str:
        """16 hex digits that name this contract in signals, verdicts and alerts.

        All fields count, those at their default too: a later version of proctord with another
        default must not go by the same name. The order in which segments stand in the file does
        not count.
        """
        body = msgspec.json.encode(self, order="deterministic")
        return hashlib.sha256(body).hexdigest()[:16]


def end_of(day: dt.date) -> float:
    """Return the moment at which a day is over in UTC, seconds.

    >>> end_of(dt.date(1970, 1, 1))
    86400.0
    """
    midnight = dt.datetime.combine(day, dt.time(), tzinfo=dt.UTC)
    return (midnight + dt.timedelta(days=1)).timestamp()
