"""`level` and `change` for many runs at once, for the benchmarks: the shipped formulas in numpy.

The stakes, the new money and the constants are the product's own. `disagreements` feeds the same
streams to these forms and to the shipped detectors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from monitor.detectors import change as change_detector
from monitor.detectors.change import (
    CAUTION,
    DELAY,
    HORIZON,
    MARGIN,
    REFERENCE,
    RISES,
    Change,
    ChangeSettings,
)
from monitor.detectors.level import Level, LevelSettings
from monitor.estimation.betting import (
    BLOCK,
    HARMS,
    MEMORY,
    MOST_AT_RISK,
    PRIOR_BLOCKS,
    PURSES,
    restart_share,
    stakes,
    uniform_variance,
)
from monitor.estimation.scores import Scores, plain
from tests.bench.streams import (
    Floats,
    Ints,
    Plan,
    Windows,
    active_plan,
    base_world,
    concept,
    draw,
    uniform_plan,
    windows,
)

DELTA = 0.01
ALPHA = 0.1
#: money at which `change` warns
WARNED = CAUTION * HORIZON / ALPHA


def first_true(alarms: np.ndarray) -> Floats:
    """Index of the first True in each row; infinite when there is none."""
    return np.where(alarms.any(axis=1), alarms.argmax(axis=1), np.inf)


# --- labels, a look after each ------------------------------------------------------------------


def level_on_labels(
    losses: Floats, tolerance: float, needed: float = 1 / DELTA, share: object = restart_share
) -> Floats:
    """Index of the label at which each run pages."""
    aims = [harm * tolerance for harm in HARMS]
    lam = np.array(stakes(tolerance, aims, tolerance * (1 - tolerance)))
    money = np.zeros((len(losses), len(HARMS)))
    first = np.full(len(losses), np.inf)
    for block, start in enumerate(range(0, losses.shape[1], BLOCK)):
        excess = losses[:, start : start + BLOCK, None] - tolerance
        fresh = share(block)  # type: ignore[operator]
        inside = (money + fresh)[:, None, :] * np.cumprod(1 + lam * excess, axis=1)
        first = np.minimum(first, start + first_true(inside @ PURSES >= needed))
        money = np.minimum(inside[:, -1], 1e200)
    return first


def change_on_labels(losses: Floats, slack: float, needed: float = WARNED) -> Floats:
    """Index of the label at which each run warns; whole blocks of labels only."""
    runs, blocks = len(losses), losses.shape[1] // BLOCK
    known = REFERENCE // BLOCK
    sums = np.cumsum(losses[:, : blocks * BLOCK].reshape(runs, blocks, BLOCK).sum(axis=2), axis=1)
    money = np.zeros((runs, len(RISES)))
    first = np.full(runs, np.inf)
    squares = sums[:, known - 1] / REFERENCE
    for block in range(known, blocks):
        live = block - known
        held = known + max(0, live // DELAY - 1) * DELAY
        mean = np.maximum(sums[:, held - 1], 1) / (held * BLOCK)
        error = np.sqrt(np.maximum(0, squares - mean**2) / (held * BLOCK))
        limit = (mean + MARGIN * error) * (1 + slack)
        variance = np.maximum(squares - 2 * limit * mean + limit**2, limit * (1 - limit))
        lam = (np.array(RISES) * mean[:, None] - limit[:, None]) / variance[:, None]
        lam = np.clip(lam, 0, MOST_AT_RISK / limit[:, None])
        part = losses[:, block * BLOCK : (block + 1) * BLOCK]
        excess = part[:, :, None] - limit[:, None, None]
        inside = (money + 1)[:, None, :] * np.cumprod(1 + lam[:, None, :] * excess, axis=1)
        found = block * BLOCK + first_true(inside @ change_detector.PURSES >= needed)
        first = np.minimum(first, found)
        money = np.minimum(inside[:, -1], 1e200)
        squares += (part.mean(axis=1) - squares) / (min(block, MEMORY) + 1)
    return first


# --- tickets, a look after each window ----------------------------------------------------------


class _OnTickets:
    """What the two detectors share: the open block of each run, and what it is betting."""

    def __init__(self, runs: int, purses: Sequence[float]) -> None:
        self.wealth = np.zeros((runs, len(purses)))
        self.purses = np.array(purses)
        self.blocks = np.zeros(runs, dtype=int)
        self.labels = np.zeros(runs, dtype=int)
        self.tickets = np.zeros(runs, dtype=int)
        self.total = np.zeros(runs)
        self.squares = np.zeros(runs)
        self.lowest = np.zeros(runs)
        #: log of what each score wins for each gambler, while the block is open
        self.gain: Floats | None = None

    def full(self, plan: Plan) -> np.ndarray:
        """Runs whose block does not take another window."""
        deeper = plan.lowest > self.lowest
        return (self.tickets > 0) & ((self.labels >= BLOCK) | deeper)

    def add(self, x: Floats, seen: Windows) -> None:
        self.labels += seen.labels
        self.tickets += seen.counts.sum(axis=1)
        self.total += seen.counts @ x
        self.squares += seen.counts @ x**2

    def clear(self, sealed: np.ndarray) -> None:
        for sums in (self.labels, self.tickets, self.total, self.squares):
            sums[sealed] = 0

    def bet(self, x: Floats, limit: Floats, lam: Floats, opened: np.ndarray, counts: Ints) -> None:
        shape = (len(self.wealth), self.wealth.shape[1], len(x))
        if self.gain is None:
            self.gain = np.zeros(shape)
        excess = x - limit[opened, None]
        self.gain[opened] = np.log1p(lam[opened, :, None] * excess[:, None, :])
        self.wealth += np.einsum("rv,rkv->rk", counts, self.gain)

    @property
    def log_e(self) -> Floats:
        """The evidence of each run."""
        top = self.wealth.max(axis=1)
        return np.asarray(top + np.log(np.exp(self.wealth - top[:, None]) @ self.purses))


class LevelOnTickets(_OnTickets):
    """`level` of many runs."""

    def __init__(self, runs: int, tolerance: float) -> None:
        super().__init__(runs, PURSES)
        self.tolerance = tolerance
        self.variance: Floats | None = None
        self.wealth += math.log(restart_share(0))

    def step(self, plan: Plan, seen: Windows) -> Floats:
        """Take one window of each run; return log E."""
        x, tau = plan.scores, self.tolerance
        if self.variance is None:
            self.variance = np.full(len(self.wealth), uniform_variance(tau, plan.lowest))
        sealed = self.full(plan)
        if sealed.any():
            self._seal(sealed)
        opened = self.tickets == 0
        self.lowest[opened] = plan.lowest
        self.add(x, seen)
        known = uniform_variance(tau, plan.lowest)
        variance = np.full_like(self.variance, known) if plan.uniform else self.variance
        lam = (np.array(HARMS) - 1) * tau / variance[:, None]
        lam = np.minimum(lam, MOST_AT_RISK / (tau + self.lowest)[:, None])
        self.bet(x, np.full(len(lam), tau), lam, opened, seen.counts)
        return self.log_e

    def _seal(self, sealed: np.ndarray) -> None:
        assert self.variance is not None
        tau, n = self.tolerance, self.tickets[sealed]
        seen = (self.squares[sealed] - 2 * tau * self.total[sealed]) / n + tau**2
        weight = np.minimum(PRIOR_BLOCKS + self.blocks[sealed], MEMORY) + 1
        self.variance[sealed] += (seen - self.variance[sealed]) / weight
        self.blocks[sealed] += 1
        fresh = np.log([restart_share(int(block)) for block in self.blocks[sealed]])
        self.wealth[sealed] = np.logaddexp(self.wealth[sealed], fresh[:, None])
        self.clear(sealed)


class ChangeOnTickets(_OnTickets):
    """`change` of many runs."""

    def __init__(self, runs: int, slack: float) -> None:
        super().__init__(runs, change_detector.PURSES)
        self.slack = slack
        self.second = np.zeros(runs)
        self.known = np.zeros(runs, dtype=int)
        #: labels, tickets and sum of scores: of the baseline, of what joins it next, of the rest
        self.parts = np.zeros((3, 3, runs))

    def step(self, plan: Plan, seen: Windows) -> Floats:
        """Take one window of each run; return the log of the mean money."""
        sealed = self.full(plan)
        if sealed.any():
            self._seal(sealed)
        opened = self.tickets == 0
        self.lowest[opened] = plan.lowest
        self.add(plan.scores, seen)
        labels, tickets, total = self.parts[0]
        ready = labels >= REFERENCE
        if ready.any():
            tickets, labels = np.maximum(tickets, 1), np.maximum(labels, 1)
            mean = np.maximum(total / tickets, 1 / labels)
            error = np.sqrt(np.maximum(0, self.second - mean**2) / tickets)
            limit = (mean + MARGIN * error) * (1 + self.slack)
            variance = self.second - 2 * limit * mean + limit**2
            variance = np.maximum(variance, limit * (1 - limit))
            lam = (np.array(RISES) * mean[:, None] - limit[:, None]) / variance[:, None]
            lam = np.clip(lam, 0, MOST_AT_RISK / (limit + self.lowest)[:, None]) * ready[:, None]
            self.bet(plan.scores, limit, lam, opened, seen.counts)
        return self.log_e

    def _seal(self, sealed: np.ndarray) -> None:
        weight = np.minimum(self.known[sealed], MEMORY) + 1
        squares = self.squares[sealed] / self.tickets[sealed]
        self.second[sealed] += (squares - self.second[sealed]) / weight
        self.known[sealed] += 1
        part = np.stack([self.labels, self.tickets, self.total])
        first = sealed & (self.parts[0, 0] < REFERENCE)
        later = sealed & ~first
        self.parts[0][:, first] += part[:, first]
        self.parts[2][:, later] += part[:, later]
        self.blocks[later] += 1
        self.wealth[later] = np.logaddexp(self.wealth[later], 0.0)
        joins = later & (self.blocks % DELAY == 0)
        self.parts[0][:, joins] += self.parts[1][:, joins]
        self.parts[1][:, joins] = self.parts[2][:, joins]
        self.parts[2][:, joins] = 0
        self.clear(sealed)


# --- the same streams through the shipped detectors ---------------------------------------------


def shipped_windows(plan: Plan, seen: Sequence[Windows], run: int) -> list[Scores]:
    """Windows of one run as the evaluator would make them."""
    return [
        Scores(
            at=float(at),
            values=tuple(
                (float(x), int(n)) for x, n in zip(plan.scores, one.counts[run], strict=True) if n
            ),
            labels=int(one.labels[run]),
            lowest=plan.lowest,
            uniform=plan.uniform,
        )
        for at, one in enumerate(seen)
    ]


def disagreements() -> list[str]:
    """Compare the forms for many runs with the shipped detectors, run by run."""
    return [*_on_labels(), *_on_tickets()]


def _on_labels() -> list[str]:
    losses = draw(np.repeat([0.08, 0.2], [3000, 1500]), 10, seed=7)
    fast = {"level": level_on_labels(losses, 0.1), "change": change_on_labels(losses, 0.1)}
    complaints = []
    for run, row in enumerate(losses):
        level = Level(LevelSettings(tolerance=0.1, delta=DELTA))
        change = Change(ChangeSettings(slack=0.1, alpha=ALPHA))
        found: dict[str, float] = {"level": np.inf, "change": np.inf}
        for loss in row.tolist():
            one = [plain([loss], 0.0)]
            if (page := level.update(one)) and page.severity == "page":
                found["level"] = page.n - 1
            if warning := change.update(one):
                found["change"] = warning.n - 1
        complaints += [
            f"labels, run {run}: {name} alarms at {fast[name][run]} in numpy, at {at} as shipped"
            for name, at in found.items()
            if fast[name][run] != at
        ]
    return complaints


def _on_tickets() -> list[str]:
    base, runs = base_world(0.08), 4
    complaints = []
    for plan in (uniform_plan(0.1), active_plan(base)):
        seen = [
            *windows(base, plan, 260, runs, 1),
            *windows(concept(base, 0.11), plan, 60, runs, 2),
        ]
        fast = [LevelOnTickets(runs, 0.1), ChangeOnTickets(runs, 0.1)]
        for one in seen:
            evidence = [form.step(plan, one) for form in fast]
        for run in range(runs):
            shipped = [
                Level(LevelSettings(tolerance=0.1, delta=1e-9)),
                Change(ChangeSettings(slack=0.1, alpha=1e-9)),
            ]
            for detector, at_once in zip(shipped, evidence, strict=True):
                detector.update(shipped_windows(plan, seen, run))
                if not math.isclose(detector.log_e, at_once[run], abs_tol=1e-9):
                    complaints.append(
                        f"tickets, run {run}: evidence of {detector.kind} is {at_once[run]} in "
                        f"numpy, {detector.log_e} as shipped"
                    )
    return complaints
