"""ADWIN: tells that the mean of a stream moved, either way, without being told what is good."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import msgspec

from monitor.detectors.finding import Finding
from monitor.detectors.replayed import Replayed, ReplayedSettings


class AdwinSettings(ReplayedSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How ADWIN watches; `delta` is river's default."""

    #: ADWIN's confidence parameter; its false alarms grow with it, and with time
    delta: float = 0.002


class Adwin:
    """A second opinion by adaptive windowing (river): `info`, never a page.

    Why it does not page: it has no tolerance, so that a change for the better, or a harmless
    wobble about a good mean, is a finding too (measured: 97 % of runs with a wobble); and when
    only the sampling policy changes it finds that (93 % of runs). Its false alarms on a
    stationary stream are few (0 to 5 % in 200,000 labels), but not bounded for ever.

    Each change is told once, and everything begins again after it, the units too.

    Source: Bifet & Gavalda (2007), Learning from time-changing data with adaptive windowing.

    >>> adwin = Adwin(AdwinSettings(warm_up=0))
    >>> adwin.update([0.0, 0.0, 0.0, 1.0] * 100) is None
    True
    >>> found = adwin.update([1.0] * 100)
    >>> found.severity, found.n, found.sentence
    ('info', 448, 'the mean moved from 0.2481 (399 values) to 1 (last 49 values)')
    """

    kind: ClassVar[str] = "adwin"
    Settings: ClassVar[type[msgspec.Struct]] = AdwinSettings
    #: a second opinion never pages
    latched: ClassVar[bool] = False

    def __init__(self, settings: AdwinSettings) -> None:
        self._delta = settings.delta
        self._replayed = Replayed(self._build, settings)

    def _build(self) -> Any:
        from river.drift import ADWIN

        return ADWIN(delta=self._delta)

    @classmethod
    def restore(cls, settings: AdwinSettings, state: bytes) -> Self:
        """Go on from a state; from the beginning when it was made under other settings."""
        adwin = cls(settings)
        adwin._replayed.restore(state)
        return adwin

    def state(self) -> bytes:
        """Return the values that the future depends on, as JSON."""
        return self._replayed.encode()

    @property
    def n(self) -> int:
        """Finite values seen in this generation."""
        return self._replayed.state.n

    @property
    def skipped(self) -> int:
        """Values that were not finite."""
        return self._replayed.state.skipped

    def update(self, values: Sequence[float]) -> Finding | None:
        """Take values in order; return the last change among them."""
        return self._replayed.update(values, self._finding)

    def _finding(self) -> Finding:
        shift = self._replayed.shift(self._delta)
        return Finding(
            severity="info",
            statistic=shift.difference,
            threshold=shift.bound,
            n=self.n,
            interval=None,
            sentence=shift.sentence,
        )
