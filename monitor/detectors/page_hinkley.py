"""Page-Hinkley: tells that the mean of a stream drifted from where it was learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import msgspec

from monitor.detectors.finding import Finding
from monitor.detectors.replayed import CUT, Replayed, ReplayedSettings


class PageHinkleySettings(ReplayedSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How Page-Hinkley watches, in standard deviations of the first `warm_up` values."""

    #: a shift smaller than this is drift that is allowed
    allowance: float = 0.1
    #: sum of what goes beyond the allowance that is a change
    threshold: float = 50.0


class PageHinkley:
    """A second opinion by cumulated sums (river): `info`, never a page.

    Why it does not page: it has no tolerance, and its false alarms on a stationary stream are
    many. With river's defaults on raw losses, 80 to 100 % of 200,000-label runs alarm; watching
    disagreement as `SECOND_OPINIONS` has it, about half of 100,000-label runs, and every one
    with a harmless wobble (`tests/bench/bench_alarms.py`).

    Each change is told once, and everything begins again after it, the units too.

    Source: Page (1954), Continuous inspection schemes.

    >>> watched = PageHinkley(PageHinkleySettings())
    >>> watched.update([200.0, 220.0] * 100) is None
    True
    >>> found = watched.update([260.0] * 50)
    >>> found.severity, found.n, found.sentence
    ('info', 214, 'the mean moved from 209.9 (199 values) to 257.3 (last 15 values)')
    """

    kind: ClassVar[str] = "page_hinkley"
    Settings: ClassVar[type[msgspec.Struct]] = PageHinkleySettings
    #: a second opinion never pages
    latched: ClassVar[bool] = False

    def __init__(self, settings: PageHinkleySettings) -> None:
        self._settings = settings
        self._replayed = Replayed(self._build, settings)

    def _build(self) -> Any:
        from river.drift import PageHinkley as RiverPageHinkley

        # river sees values in [0, 1], in which one standard deviation is 1 / (2 CUT)
        return RiverPageHinkley(
            delta=self._settings.allowance / (2 * CUT),
            threshold=self._settings.threshold / (2 * CUT),
        )

    @classmethod
    def restore(cls, settings: PageHinkleySettings, state: bytes) -> Self:
        """Go on from a state; from the beginning when it was made under other settings."""
        watched = cls(settings)
        watched._replayed.restore(state)
        return watched

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
        return Finding(
            severity="info",
            statistic=self._statistic() * 2 * CUT,
            threshold=self._settings.threshold,
            n=self.n,
            interval=None,
            sentence=self._replayed.shift(0.002).sentence,
        )

    def _statistic(self) -> float:
        """Return the larger of the two sums; river keeps them and shows none."""
        live = self._replayed.live
        rise = live._sum_increase - live._min_increase  # noqa: SLF001 -- no public name
        fall = live._max_decrease - live._sum_decrease  # noqa: SLF001 -- no public name
        return float(max(rise, fall))
