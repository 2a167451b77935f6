"""What every detector has in common: the finding it makes and the shape it has."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, Self, TypeVar

import msgspec

from schemas.signals import Interval, Severity


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A detector found something; the evaluator adds where and when and journals a Signal."""

    severity: Severity
    #: the detector's statistic and what it had to reach
    statistic: float
    threshold: float
    #: values (for scores: labels) seen in this generation when it was found: not when the batch
    #: ended
    n: int
    #: the quantity itself, where the detector estimates it
    interval: Interval | None
    #: what the quantity has gone above, where that is known
    limit: float | None = None
    #: the same in a sentence for people
    sentence: str


def fingerprint(settings: msgspec.Struct) -> str:
    """Return 12 characters that tell settings apart, for the state of a detector."""
    return hashlib.blake2b(msgspec.json.encode(settings), digest_size=6).hexdigest()


class Resumable(Protocol):
    """Begins under settings, and goes on from a state."""

    def __init__(self, settings: Any) -> None:
        """Begin a generation."""

    @classmethod
    def restore(cls, settings: Any, state: bytes) -> Self:
        """Go on from a state; from the beginning when it was made under other settings."""


_R = TypeVar("_R", bound=Resumable)


def resume(kind: type[_R], settings: msgspec.Struct, state: bytes | None) -> _R:
    """Go on from what the journal holds; begin where it holds nothing."""
    return kind(settings) if state is None else kind.restore(settings, state)


class Detector(Resumable, Protocol):
    """Watches one stream during one generation.

    A generation begins with a new student, teacher or tolerance, and with it a fresh detector.
    A value that is not usable (for numbers: not finite) never reaches the mathematics: it is
    skipped and counted.
    """

    kind: ClassVar[str]
    #: the type of its settings; its defaults are the measured ones
    Settings: ClassVar[type[msgspec.Struct]]

    @property
    def n(self) -> int:
        """Usable values seen in this generation; for scores: the labels among their tickets."""

    @property
    def skipped(self) -> int:
        """Values that were not usable; for scores: windows."""

    @property
    def latched(self) -> bool:
        """Whether it has said its last word: it says no more in this generation."""

    def update(self, values: Sequence[Any]) -> Finding | None:
        """Take values in order, numbers or scores of windows; return the gravest thing found."""

    def state(self) -> bytes:
        """JSON from which `restore` goes on with bit-equal findings."""
