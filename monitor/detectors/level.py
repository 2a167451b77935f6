"""Level: pages when the mean loss has left the tolerance, with a bounded chance of ever erring."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, Self

import msgspec

from monitor.detectors.finding import Finding, fingerprint
from monitor.estimation.betting import (
    HARMS,
    PRIOR_BLOCKS,
    PURSES,
    Block,
    distance,
    paid_in,
    remembered,
    restart_share,
    shared,
    stakes,
    uniform_variance,
    winnings,
)
from monitor.estimation.scores import Scores
from monitor.estimation.wording import percent

#: probability of ever warning although the mean never left the tolerance
WARNING_PROBABILITY = 0.05


class LevelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is tolerated, and how much of the false-alarm probability this stream may spend."""

    #: mean loss that was accepted, in (0, 1)
    tolerance: float
    #: probability of ever paging falsely, over all streams together
    delta: float = 0.01
    #: this stream's share of it, in (0, 1]; the shares of all streams sum to 1
    weight: float = 1.0
    #: what is watched (contract, teacher, student): where it changes, a generation begins
    generation: str = ""

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
    #: fingerprint of the settings it was made under
    made_under: str
    n: int = 0
    skipped: int = 0
    told: Literal["", "warn", "page"] = ""
    #: blocks sealed so far, and the one that is open
    blocks: int = 0
    block: Block = msgspec.field(default_factory=Block)
    #: log of what each gambler made of every 1 that he was given
    wealth: list[float] = msgspec.field(
        default_factory=lambda: [math.log(restart_share(0))] * len(HARMS)
    )
    #: running mean of (x - tolerance)^2 of the sealed blocks; None before the first score
    variance: float | None = None


class Level:
    """The tolerance alarm: a restarting mixture of bets against "the mean is within tolerance".

    It takes the scores of closed windows, oldest first, each window once. Consecutive windows
    form a block until they hold 50 labels; within a block stakes are fixed, and it looks after
    each window. At most one warning and one page a generation; a page that comes in the same
    update as the warning stands for both.

    Guarantee: P(ever a page) <= weight * delta and P(ever a warning) <= weight * 0.05, for any
    dependence, drift, traffic or sampling policy, while each score has, given the past, a mean of
    at most the tolerance (`estimation.betting` says why).

    Assumptions: what is expected of a ticket and the probability of asking were fixed before its
    loss was known; the draw is random; a loss is told, or not, whatever it is.

    Under a plan that asks about all alike the stakes are those on plain losses (the variance is
    known then); under another one they follow the variance of earlier blocks.

    Cost: a few microseconds for each distinct score of a window; the state is below 300 bytes.

    Sources: those of `estimation.betting`; Waudby-Smith et al., arXiv 2210.10768, and
    Karampatziakis, Mineiro & Ramdas (2021), arXiv 2102.09540 (weighted scores that have no upper
    bound can be bet on, as long as they have a lower one).

    >>> from monitor.estimation.scores import plain
    >>> level = Level(LevelSettings(tolerance=0.1))
    >>> level.update([plain([0.0] * 50, at=60.0 * minute) for minute in range(10)]) is None
    True
    >>> found = level.update([plain([1.0, 0.0, 0.0], at=600.0 + second) for second in range(40)])
    >>> found.severity, found.n, found.sentence
    ('page', 560, 'above what was accepted; limit 10.0 %; chance of a false page, ever: at most 1 %')
    """

    kind: ClassVar[str] = "level"
    Settings: ClassVar[type[msgspec.Struct]] = LevelSettings

    def __init__(self, settings: LevelSettings) -> None:
        self._settings = settings
        self._needed = {
            "warn": -math.log(settings.weight * WARNING_PROBABILITY),
            "page": -math.log(settings.weight * settings.delta),
        }
        self._state = _State(fingerprint(settings))

    @classmethod
    def restore(cls, settings: LevelSettings, state: bytes) -> Self:
        """Go on from a state; from the beginning when it was made under other settings."""
        level = cls(settings)
        found = msgspec.json.decode(state, type=_State)
        if found.made_under == level._state.made_under:
            level._state = found
        return level

    def state(self) -> bytes:
        """Return everything that the future depends on, as JSON."""
        return msgspec.json.encode(self._state)

    @property
    def n(self) -> int:
        """Labels seen in this generation."""
        return self._state.n

    @property
    def skipped(self) -> int:
        """Windows with a score that is not finite, or lower than their plan allows."""
        return self._state.skipped

    @property
    def latched(self) -> bool:
        """Whether it has paged."""
        return self._state.told == "page"

    @property
    def log_e(self) -> float:
        """The evidence against "within tolerance": log of the wealth won from 1."""
        return shared(self._state.wealth, PURSES)

    def update(self, values: Sequence[Scores]) -> Finding | None:
        """Take closed windows in order; return the page or warning that they led to."""
        found = None
        for window in values:
            if not window.usable:
                self._state.skipped += 1
            elif window.values:
                self._bet(window)
                found = self._look() or found
        return found

    def _bet(self, window: Scores) -> None:
        """Settle the bets on one window."""
        state, tolerance = self._state, self._settings.tolerance
        if not state.block.takes(window):
            self._seal()
        state.block.add(window)
        if state.variance is None:
            state.variance = uniform_variance(tolerance, window.lowest)
        won = winnings(window, tolerance, self._stakes(state.block, state.variance))
        state.wealth = [money + gain for money, gain in zip(state.wealth, won, strict=True)]
        state.n += window.labels

    def _stakes(self, block: Block, variance: float) -> tuple[float, ...]:
        """What is staked in a block: by its plan and by earlier blocks, not by its own scores."""
        tolerance = self._settings.tolerance
        if block.uniform:
            variance = uniform_variance(tolerance, block.lowest)
        return stakes(tolerance, [harm * tolerance for harm in HARMS], variance, block.lowest)

    def _seal(self) -> None:
        """Learn from the block that was open, and pay in the new money of the next one."""
        state = self._state
        assert state.variance is not None
        seen = distance(state.block.moments, self._settings.tolerance)
        state.variance = remembered(state.variance, seen, PRIOR_BLOCKS + state.blocks)
        state.blocks += 1
        state.wealth = paid_in(state.wealth, restart_share(state.blocks))
        state.block = Block()

    def _look(self) -> Finding | None:
        """Tell what has not been told yet."""
        told, evidence = self._state.told, self.log_e
        if told != "page" and evidence >= self._needed["page"]:
            return self._tell("page", evidence)
        if told == "" and evidence >= self._needed["warn"]:
            return self._tell("warn", evidence)
        return None

    def _tell(self, severity: Literal["warn", "page"], evidence: float) -> Finding:
        self._state.told = severity
        settings, paging = self._settings, severity == "page"
        share = settings.weight * (settings.delta if paging else WARNING_PROBABILITY)
        return Finding(
            severity=severity,
            statistic=evidence,
            threshold=self._needed[severity],
            n=self.n,
            interval=None,
            limit=settings.tolerance,
            sentence=f"above what was accepted; limit {percent(settings.tolerance)}; chance of a "
            f"false {'page' if paging else 'warning'}, ever: at most {100 * share:.3g} %",
        )
