"""The quality loss accepted up front: what proctord holds a student to."""

from __future__ import annotations

import hashlib

import msgspec


class QualityContract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was accepted, by whom it may be changed, and what proctord may spend on watching it.

    >>> QualityContract(tolerance=0.1).hash == QualityContract(tolerance=0.1).hash
    True
    """

    #: mean disagreement with the teacher that is accepted, in (0, 1)
    tolerance: float
    #: probability of ever paging although the disagreement never left the tolerance
    false_alarm_probability: float = 0.01
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

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises
        ------
        ValueError: naming the field, what it is and what it must be.
        """
        for name in ("tolerance", "false_alarm_probability", "non_inferiority_margin"):
            value = getattr(self, name)
            if not 0 < value < 1:
                message = f"{name} is {value}; it must lie between 0 and 1, both excluded"
                raise ValueError(message)
        for name in ("daily_teacher_usd", "cadence_seconds", "cool_down_seconds"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                message = f"{name} is {value}; it must be 0 or a positive number"
                raise ValueError(message)
        if self.accepted_loss is not None and not 0 < self.accepted_loss < 1:
            message = f"accepted_loss is {self.accepted_loss}; it must lie between 0 and 1"
            raise ValueError(message)
        if self.min_new_labels < 1:
            message = f"min_new_labels is {self.min_new_labels}; it must be 1 or more"
            raise ValueError(message)

    @property
    def gate_limit(self) -> float:
        """The disagreement that a challenger's upper bound must stay below."""
        return self.tolerance if self.accepted_loss is None else self.accepted_loss

    @property
    def hash(self) -> str:
        """16 hex digits that name this contract in signals, verdicts and alerts."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]
