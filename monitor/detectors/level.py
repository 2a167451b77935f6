"""Level: pages when the mean loss has left the tolerance, with a bounded chance of ever erring."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import ClassVar, Literal, Self

import msgspec

from monitor.detectors.finding import Finding
from monitor.estimation.beta_binomial import clopper_pearson, confidence_sequence
from monitor.estimation.betting import HARMS, RICHEST, restart_share, stakes
from monitor.estimation.wording import number, percent, span
from schemas.signals import Interval, Severity

#: labels of a block: stakes are fixed and new money comes in at its beginning
BLOCK = 50

#: blocks whose sums are kept, to say since when and how bad: 1,000 labels
KEPT = 20

#: the newest blocks of these that the sentence names beside it: 500 labels
RECENT = 10

#: probability of ever warning although the mean never left the tolerance
WARNING_PROBABILITY = 0.05


class LevelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is tolerated, and how much of the false-alarm probability this stream may spend."""

    #: mean loss that was accepted, in (0, 1)
    tolerance: float
    #: probability of ever paging falsely, over all streams together
    delta: float = 0.01
    #: this stream's share of it; the shares of segments and generations sum to 1
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises
        ------
        ValueError: naming the field, what it is and what it must be.
        """
        for name in ("tolerance", "delta"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie between 0 and 1")
        if not 0 < self.weight <= 1:
            raise ValueError(f"weight is {self.weight}; it must lie above 0 and not above 1")


class _State(msgspec.Struct, array_like=True):
    settings: tuple[float, float, float]
    n: int = 0
    skipped: int = 0
    total: float = 0.0
    wealth: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(HARMS))
    #: sums of the newest blocks, oldest first; the last one is open
    sums: list[float] = msgspec.field(default_factory=list)
    told: Literal["", "warn", "page"] = ""


class Level:
    """The tolerance alarm: a restarting mixture of bets against "the mean is within tolerance".

    Values are losses in [0, 1] of uniformly sampled tickets, one a label, in the order in which
    they came. At most one warning and one page a generation; a page that comes in the same batch
    as the warning stands for both.

    Guarantee: P(ever a page) <= weight * delta and P(ever a warning) <= weight * 0.05, for any
    dependence, drift or traffic, while each loss has, given the past, a mean of at most the
    tolerance (`estimation.betting` says why).

    Assumption: the sample is uniform, and whether a label arrives does not depend on its loss.

    Cost: 2 to 3 microseconds a label; the state is 200 to 300 bytes.

    >>> level = Level(LevelSettings(tolerance=0.1))
    >>> level.update([0.0] * 500) is None
    True
    >>> found = level.update([1.0, 0.0, 0.0] * 40)
    >>> found.severity, found.n
    ('page', 558)
    >>> print(found.sentence)  # doctest: +NORMALIZE_WHITESPACE
    disagreement 34.5 % over the last 58 labels, where the evidence begins (95 % interval 10.8 to
    65.4 %, any number of looks); limit 10.0 %; last 458 labels 4.4 % (95 % interval 2.7 to 6.7 %,
    one look); all 558 labels of this student 3.6 %; chance of a false page, ever: at most 1 %
    """

    kind: ClassVar[str] = "level"
    Settings: ClassVar[type[msgspec.Struct]] = LevelSettings

    def __init__(self, settings: LevelSettings) -> None:
        self._settings = settings
        tolerance = settings.tolerance
        self._stakes = stakes(tolerance, tolerance * (1 - tolerance))
        self._needed = {
            "warn": 1 / (settings.weight * WARNING_PROBABILITY),
            "page": 1 / (settings.weight * settings.delta),
        }
        self._state = _State((tolerance, settings.delta, settings.weight))

    @classmethod
    def restore(cls, settings: LevelSettings, state: bytes) -> Self:
        """Go on from a state; from the beginning when it was made under other settings."""
        level = cls(settings)
        found = msgspec.json.decode(state, type=_State)
        if found.settings == level._state.settings:
            level._state = found
        return level

    def state(self) -> bytes:
        """Return everything that the future depends on, as JSON."""
        return msgspec.json.encode(self._state)

    @property
    def n(self) -> int:
        """Losses seen in this generation."""
        return self._state.n

    @property
    def skipped(self) -> int:
        """Values that were no losses: not finite, or outside [0, 1]."""
        return self._state.skipped

    @property
    def latched(self) -> bool:
        """Whether it has paged."""
        return self._state.told == "page"

    @property
    def log_e(self) -> float:
        """The evidence against "within tolerance": log of the wealth won from 1."""
        return math.log(self._evidence()) if self.n else -math.inf

    def _evidence(self) -> float:
        return sum(self._state.wealth) / len(HARMS)

    def update(self, values: Sequence[float]) -> Finding | None:
        """Take losses in order; return the page or warning that they led to."""
        found = None
        for value in values:
            if not 0 <= value <= 1:  # NaN is not either
                self._state.skipped += 1
                continue
            self._bet(value)
            found = self._look() or found
        return found

    def _bet(self, loss: float) -> None:
        """Settle the bets on one loss."""
        state = self._state
        if state.n % BLOCK == 0:
            self._open_block()
        excess = loss - self._settings.tolerance
        state.wealth = [
            m * (1 + s * excess) for m, s in zip(state.wealth, self._stakes, strict=True)
        ]
        state.n += 1
        state.total += loss
        state.sums[-1] += loss

    def _open_block(self) -> None:
        state = self._state
        fresh = restart_share(state.n // BLOCK)
        state.wealth = [min(money, RICHEST) + fresh for money in state.wealth]
        state.sums = [*state.sums, 0.0][-KEPT:]

    def _look(self) -> Finding | None:
        """Tell what has not been told yet."""
        told, evidence = self._state.told, self._evidence()
        if told != "page" and evidence >= self._needed["page"]:
            return self._tell("page")
        if told == "" and evidence >= self._needed["warn"]:
            return self._tell("warn")
        return None

    def _tell(self, severity: Literal["warn", "page"]) -> Finding:
        self._state.told = severity
        labels, since = self._since()
        return Finding(
            severity=severity,
            statistic=self.log_e,
            threshold=math.log(self._needed[severity]),
            n=self.n,
            interval=since,
            sentence=self._sentence(severity, labels, since),
        )

    def _since(self) -> tuple[int, Interval]:
        """Return the labels since the start with the most evidence, and the estimate since then.

        The start is picked by looking at the data, and at a moment picked by looking too. The
        interval survives both: the one of start b is given the share `restart_share(b)` of the
        5 %, and all shares together are 1, so that with probability 95 % not one of them, at any
        time, misses a rate that has been constant since its start.
        """
        sums = self._state.sums
        first = (self.n - 1) // BLOCK - len(sums) + 1
        totals = list(accumulate(reversed(sums)))[::-1]
        _, block, total = max(
            (self._evidence_since(block, total), block, total)
            for block, total in enumerate(totals, first)
        )
        labels = self.n - block * BLOCK
        return labels, confidence_sequence(total, labels, 0.05 * restart_share(block))

    def _evidence_since(self, block: int, total: float) -> float:
        """Return the log of what the best gambler won who came in at a block.

        From the sum alone, as if each loss were 0 or 1: exact then, else a little low, because
        the logarithm is concave. It only picks a start; no guarantee hangs on it.
        """
        tolerance = self._settings.tolerance
        misses = self.n - block * BLOCK - total
        return math.log(restart_share(block)) + max(
            total * math.log1p(stake * (1 - tolerance)) + misses * math.log1p(-stake * tolerance)
            for stake in self._stakes
        )

    def _sentence(self, severity: Severity, labels: int, since: Interval) -> str:
        state, settings = self._state, self._settings
        share = settings.weight * (settings.delta if severity == "page" else WARNING_PROBABILITY)
        recent_n = self.n - max(0, (self.n - 1) // BLOCK - RECENT + 1) * BLOCK
        recent = clopper_pearson(sum(state.sums[-RECENT:]), recent_n)
        return (
            f"disagreement {percent(since.estimate)} over the last {number(labels)} labels, where "
            f"the evidence begins ({span(since)}, any number of looks); limit "
            f"{percent(settings.tolerance)}; last {number(recent_n)} labels "
            f"{percent(recent.estimate)} ({span(recent)}, one look); all {number(self.n)} labels "
            f"of this student {percent(state.total / self.n)}; chance of a false "
            f"{'page' if severity == 'page' else 'warning'}, ever: at most {100 * share:.3g} %"
        )
