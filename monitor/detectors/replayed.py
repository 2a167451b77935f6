"""A river detector that a restart cannot change.

river's detectors can be pickled, but a pickle in the journal would be code that runs when it is
read, and would not survive another version of river. So the journal holds the values that a
detector still depends on, and the detector is built again by feeding them to a fresh one. To
keep them few, the live one is itself built again from the last `memory` values whenever it holds
twice as many: at a moment that only the values decide, so that a detector that was restarted and
one that never was are the same by construction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from monitor.detectors.finding import Finding

#: standard deviations at which a value is cut off on either side of the mean: one wild value
#: must not be able to raise an alarm alone
CUT = 4.0


class Units(msgspec.Struct, frozen=True, array_like=True):
    """The range that is mapped to [0, 1]: river's ADWIN assumes that its values lie there."""

    low: float
    high: float

    @classmethod
    def learned(cls, values: Sequence[float]) -> Units | None:
        """Return the range of CUT deviations about the mean; None while all values are one."""
        centre, reach = float(np.mean(values)), CUT * float(np.std(values))
        units = cls(centre - reach, centre + reach)
        return units if math.isfinite(units.high - units.low) and units.low < units.high else None

    def apply(self, value: float) -> float:
        """Map a value to [0, 1]; one standard deviation is 1 / (2 CUT) there."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))


#: for values that lie in [0, 1] by their nature
SHARE = Units(0.0, 1.0)


class ReplayedSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all detectors of this kind are told."""

    #: values that it remembers at least, once it has seen so many
    memory: int = 1000
    #: values from which the units are learned; 0: the values lie in [0, 1] by their nature
    warm_up: int = 100


class ReplayedState(msgspec.Struct, array_like=True):
    """What the journal holds of a river detector."""

    #: version of river that watched, for whoever compares two histories
    river: str
    settings: dict[str, float]
    n: int = 0
    skipped: int = 0
    #: the values it depends on, as they came, and their units; None: they are yet to be learned
    values: list[float] = []
    units: Units | None = None


class Shift(msgspec.Struct, frozen=True, kw_only=True):
    """Where a stream most likely moved: its means before and after, and ADWIN's bound."""

    before: float
    after: float
    n_before: int
    n_after: int
    #: difference of the means in units of [0, 1], and what ADWIN asks of it
    difference: float
    bound: float

    @property
    def sentence(self) -> str:
        """The shift for people."""
        return (
            f"the mean moved from {self.before:.4g} ({self.n_before:,} values) to "
            f"{self.after:.4g} (last {self.n_after:,} values)"
        )


class Replayed:
    """A live river detector and the values it depends on: fewer than twice `memory`.

    Parameters
    ----------
    build: makes a fresh river detector for values in [0, 1].
    settings: what it was built with; a state made under others is not gone on from.
    """

    def __init__(self, build: Callable[[], Any], settings: ReplayedSettings) -> None:
        import river

        self._build = build
        self._memory = settings.memory
        self._warm_up = settings.warm_up
        units = None if settings.warm_up else SHARE
        made_under = {k: float(v) for k, v in msgspec.structs.asdict(settings).items()}
        self.state = ReplayedState(river.__version__, made_under, units=units)
        self.live = build()

    def restore(self, body: bytes) -> None:
        """Go on from a state, if it was made under the same settings."""
        state = msgspec.json.decode(body, type=ReplayedState)
        if state.settings == self.state.settings:
            state.river = self.state.river
            self.state = state
            self._rebuild(state.values)

    def _rebuild(self, values: Sequence[float]) -> bool:
        """Feed values to a fresh detector until it finds a change; say whether it did."""
        self.live = self._build()
        return any(self._feed(value) for value in (values if self.state.units else ()))

    def _feed(self, value: float) -> bool:
        assert self.state.units is not None
        self.live.update(self.state.units.apply(value))
        return bool(self.live.drift_detected)

    def update(self, values: Sequence[float], describe: Callable[[], Finding]) -> Finding | None:
        """Take values in order; return the last change among them, as `describe` tells it.

        After each change everything begins again, the units too, as river's detectors do.
        """
        found = None
        for value in values:
            if self._take(value):
                found = describe()
                self._begin_again()
        return found

    def _take(self, value: float) -> bool:
        """Take a value; say whether the detector found a change.

        A rebuilding may find what the live one had not yet: that counts, because the fresh one
        would take the new level for the old. So no state holds values in which there is a find.
        """
        state = self.state
        if not math.isfinite(value):
            state.skipped += 1
            return False
        state.n += 1
        state.values.append(value)
        if state.units is None:
            return self._learn()
        return self._feed(value) or (len(state.values) >= 2 * self._memory and self._shorten())

    def _shorten(self) -> bool:
        kept = self.state.values[-self._memory :]
        found = self._rebuild(kept)
        if not found:
            self.state.values = kept
        return found

    def _learn(self) -> bool:
        if len(self.state.values) < self._warm_up:
            return False
        self.state.values = self.state.values[-self._warm_up :]
        self.state.units = Units.learned(self.state.values)
        return self._rebuild(self.state.values)

    def _begin_again(self) -> None:
        self.state.values = []
        self.state.units = None if self._warm_up else SHARE
        self.live = self._build()

    def shift(self, delta: float) -> Shift:
        """Return the split of the remembered values that ADWIN's bound is exceeded most at.

        The bound is that of Bifet & Gavalda (2007), theorem 3.2 with the variance.
        """
        assert self.state.units is not None
        shares = np.array([self.state.units.apply(value) for value in self.state.values])
        n = len(shares)
        before = np.arange(1, n)
        means = np.cumsum(shares)[:-1] / before
        rest = (shares.sum() - means * before) / (n - before)
        inverse = 1 / before + 1 / (n - before)
        log_term = math.log(2 * math.log(n) / delta)
        bound = np.sqrt(2 * inverse * shares.var() * log_term) + 2 / 3 * inverse * log_term
        best = int(np.argmax(np.abs(rest - means) / bound))
        return self._shift_at(best + 1, float(rest[best] - means[best]), float(bound[best]))

    def _shift_at(self, split: int, difference: float, bound: float) -> Shift:
        values = self.state.values
        return Shift(
            before=float(np.mean(values[:split])),
            after=float(np.mean(values[split:])),
            n_before=split,
            n_after=len(values) - split,
            difference=abs(difference),
            bound=bound,
        )

    def encode(self) -> bytes:
        """Return the state as JSON."""
        return msgspec.json.encode(self.state)
