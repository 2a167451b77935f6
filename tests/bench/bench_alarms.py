"""False alarms and delay of the tolerance alarm and of its peers, on the same streams.

    python -m tests.bench.bench_alarms [--size small|full]

Labels are drawn independently, 0 or 1. Null: the share of runs with any alarm in so many labels
at a constant rate. Wobble: each day of 500 labels has its own rate, logit(.08) + N(0, .15).
Delay: labels after a step until the first alarm, median / 90th percentile; `never` means not
within the limit that the header names. `late` is the step .08 -> .16 after a long good time.
A median means nothing without the null beside it.

The peers' rules are written here from their descriptions; no peer's package is needed but river.
The tolerance is .04 / .10 / .18 for a rate of .03 / .08 / .15; only the first three rows know it.
Exit code 1: the fast form and the shipped detector disagree, or a figure is far from what it was.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln

from monitor.detectors import SECOND_OPINIONS, make
from monitor.estimation.beta_binomial import PRIOR_A, PRIOR_B
from monitor.estimation.betting import BLOCK, HARMS, restart_share, stakes
from monitor.estimation.scores import plain

Losses = NDArray[np.float64]
Moments = NDArray[np.float64]

DELTA = 0.01
STEP = 5000
CHUNK = 500
DAY = 500
TOLERANCES = {0.03: 0.04, 0.08: 0.10, 0.15: 0.18}
STEPS = ((0.03, 0.06), (0.08, 0.12), (0.08, 0.16), (0.08, 0.24))


class Size(NamedTuple):
    """How much is simulated."""

    null_labels: int
    late: int
    limit: int
    fast_runs: int
    slow_runs: int
    late_runs: int


SIZES = {
    "small": Size(20_000, 20_000, 10_000, 200, 8, 4),
    "full": Size(200_000, 100_000, 20_000, 400, 40, 10),
}


class Method(NamedTuple):
    """A rule: index of its first alarm at or after `since`, per run; infinite when none."""

    name: str
    #: whether it is vectorised, and can afford more runs
    fast: bool
    first_alarm: Callable[[Losses, float, int], Moments]


def first_true(alarms: NDArray[np.bool_]) -> Moments:
    """Index of the first True in each row; infinite when there is none."""
    return np.where(alarms.any(axis=1), alarms.argmax(axis=1), np.inf)


def wealth_alarm(losses: Losses, tolerance: float, share: Callable[[int], float]) -> Moments:
    """The mixture of bets, all runs at once, peeking at each label; it latches."""
    aims = [harm * tolerance for harm in HARMS]
    lam = np.array(stakes(tolerance, aims, tolerance * (1 - tolerance)))
    money = np.zeros((len(losses), len(HARMS)))
    first = np.full(len(losses), np.inf)
    for block, start in enumerate(range(0, losses.shape[1], BLOCK)):
        excess = losses[:, start : start + BLOCK, None] - tolerance
        inside = (money + share(block))[:, None, :] * np.cumprod(1 + lam * excess, axis=1)
        found = start + first_true(inside.mean(axis=2) >= 1 / DELTA)
        first = np.minimum(first, found)
        money = np.minimum(inside[:, -1], 1e200)
    return first


def tol_e(losses: Losses, tolerance: float, since: int) -> Moments:
    """As shipped. An alarm before `since` is a false one that latched: not a detection."""
    return latched(wealth_alarm(losses, tolerance, restart_share), since)


def without_restart(losses: Losses, tolerance: float, since: int) -> Moments:
    """The textbook test by betting: all money at once, and none later."""
    return latched(wealth_alarm(losses, tolerance, lambda block: float(block == 0)), since)


def running_mean(losses: Losses, tolerance: float, since: int) -> Moments:
    """Alarm when the beta-binomial sequence of the mean of all labels lies above the tolerance."""
    n = np.arange(1, losses.shape[1] + 1)
    hits = np.cumsum(losses, axis=1)
    mixture = betaln(PRIOR_A + hits, PRIOR_B + n - hits) - betaln(PRIOR_A, PRIOR_B)
    plain = hits * np.log(tolerance) + (n - hits) * np.log1p(-tolerance)
    above = hits > tolerance * n
    return latched(first_true(above & (mixture - plain >= np.log(1 / DELTA))), since)


def latched(first: Moments, since: int) -> Moments:
    """An alarm that came too early is none: the alarm was spent."""
    return np.where(first < since, np.nan, first)


def chunk_3sd(losses: Losses, _tolerance: float, since: int) -> Moments:
    """Means of chunks of 500 against mean + 3 sd of the ten before the step (NannyML's rule)."""
    whole = losses.shape[1] // CHUNK
    means = losses[:, : whole * CHUNK].reshape(len(losses), whole, CHUNK).mean(axis=2)
    reference = means[:, : STEP // CHUNK]
    limit = reference.mean(axis=1) + 3 * reference.std(axis=1, ddof=1)
    ends = np.arange(1, whole + 1) * CHUNK - 1
    alarms = (means > limit[:, None]) & (ends >= max(since, STEP))
    chunk = np.where(alarms.any(axis=1), alarms.argmax(axis=1), whole)
    found: Moments = np.append(ends, np.inf)[chunk]
    return found


def river(build: Callable[[], object]) -> Callable[[Losses, float, int], Moments]:
    """A detector of river as it comes, fed with the raw labels; it resets after an alarm."""

    def first(row: Losses, since: int) -> float:
        detector: object = build()
        for index, value in enumerate(row.tolist()):
            detector.update(value)  # type: ignore[attr-defined]
            if detector.drift_detected and index >= since:  # type: ignore[attr-defined]
                return index
        return np.inf

    return lambda losses, _tolerance, since: np.array([first(row, since) for row in losses])


def shipped(kind: str) -> Callable[[Losses, float, int], Moments]:
    """A second opinion on disagreement as it ships."""
    settings = SECOND_OPINIONS["disagreement"][kind]

    def first(row: Losses, since: int) -> float:
        detector = make(kind, settings)
        for index, value in enumerate(row.tolist()):
            if detector.update((value,)) and index >= since:
                return index
        return np.inf

    return lambda losses, _tolerance, since: np.array([first(row, since) for row in losses])


def methods() -> list[Method]:
    """All rows of the table."""
    from river.drift import ADWIN, PageHinkley
    from river.drift.binary import DDM

    return [
        Method("level (tol-e)", True, tol_e),
        Method("betting, no restart", True, without_restart),
        Method("running-mean sequence", True, running_mean),
        Method("chunk 500, mean + 3 sd", True, chunk_3sd),
        Method("adwin, as shipped", False, shipped("adwin")),
        Method("ADWIN default", False, river(ADWIN)),
        Method("ADWIN delta .01", False, river(lambda: ADWIN(delta=0.01))),
        Method("page_hinkley, as shipped", False, shipped("page_hinkley")),
        Method("PageHinkley default", False, river(PageHinkley)),
        Method("DDM", False, river(DDM)),
    ]


def draw(rates: Iterable[float], runs: int, seed: int) -> Losses:
    """Labels of some runs, whose rates go through `rates`."""
    chance = np.fromiter(rates, dtype=float)
    return (np.random.default_rng(seed).random((runs, len(chance))) < chance).astype(float)


def null_share(method: Method, rate: float, tolerance: float, size: Size, *, wobble: bool) -> float:
    """The share of runs with any alarm although nothing happened."""
    runs = size.fast_runs if method.fast else size.slow_runs
    days = -(-size.null_labels // DAY)
    noise = np.random.default_rng(99).normal(0, 0.15 if wobble else 0.0, days)
    daily = 1 / (1 + np.exp(-(np.log(rate / (1 - rate)) + noise)))
    rates = np.repeat(daily, DAY)[: size.null_labels]
    alarms = [
        np.isfinite(method.first_alarm(draw(rates, 20, seed), tolerance, 0))
        for seed in range(-(-runs // 20))
    ]
    return float(np.concatenate(alarms)[:runs].mean())


def delays(method: Method, before: float, after: float, at: int, runs: int, limit: int) -> Moments:
    """Labels from the step to the first alarm after it; infinite when the limit came first."""
    rates = np.repeat([before, after], [at, limit])
    parts = [
        method.first_alarm(draw(rates, 20, 500 + seed), TOLERANCES[before], at) - at + 1
        for seed in range(-(-runs // 20))
    ]
    return np.concatenate(parts)[:runs]


def shown(delay: Moments) -> str:
    """Median / 90th percentile, `never` where the limit came first."""
    known = delay[~np.isnan(delay)]
    if not len(known):
        return "all early"
    at = np.quantile(known, [0.5, 0.9], method="higher")
    return "/".join(f"{value:.0f}" if np.isfinite(value) else "never" for value in at)


class Row(NamedTuple):
    """One method's figures."""

    name: str
    null: list[float]
    delay: list[Moments]
    seconds: float


def measure(method: Method, size: Size) -> Row:
    """All columns of one method."""
    started = time.perf_counter()
    null = [null_share(method, p, tau, size, wobble=False) for p, tau in TOLERANCES.items()]
    null.append(null_share(method, 0.08, TOLERANCES[0.08], size, wobble=True))
    null.append(null_share(method, 0.10, 0.10, size, wobble=False))
    runs = size.fast_runs if method.fast else 2 * size.slow_runs
    late_runs = size.fast_runs // 4 if method.fast else size.late_runs
    delay = [delays(method, p0, p1, STEP, runs, size.limit) for p0, p1 in STEPS]
    delay.append(delays(method, 0.08, 0.16, size.late, late_runs, size.limit))
    return Row(method.name, null, delay, time.perf_counter() - started)


def print_table(rows: list[Row], size: Size) -> None:
    """The table, with delays against ADWIN's default in the same run at its right."""
    print(
        f"\nnull: share of runs with an alarm in {size.null_labels:,} labels "
        f"({size.fast_runs} or {size.slow_runs} runs); delay: median/p90 labels, limit "
        f"{size.limit:,}; late: after {size.late:,} good labels"
    )
    heads = [".03", ".08", ".15", "wobble", "p=tau .10"]
    heads += [f"{p0:.2f}>{p1:.2f}" for p0, p1 in STEPS] + ["late .16", ".16 vs ADWIN", "s"]
    print(f"{'method':<26}" + "".join(f"{head:>13}" for head in heads))
    adwin = np.nanmedian(next(row for row in rows if row.name == "ADWIN default").delay[2])
    for row in rows:
        cells = [f"{share:.3f}" for share in row.null] + [shown(delay) for delay in row.delay]
        ratio = np.nanmedian(row.delay[2]) / adwin
        cells += [f"{ratio:.2f}x" if np.isfinite(ratio) else "-", f"{row.seconds:.1f}"]
        print(f"{row.name:<26}" + "".join(f"{cell:>13}" for cell in cells))


def disagreement_with_shipped() -> list[str]:
    """Compare the fast form with the shipped detector, run by run."""
    losses = draw(np.repeat([0.08, 0.2], [1010, 1500]), 40, seed=7)
    fast = wealth_alarm(losses, 0.1, restart_share)
    complaints = []
    for run, row in enumerate(losses):
        level = make("level", {"tolerance": 0.1, "delta": DELTA})
        pages = [
            f.n - 1
            for x in row.tolist()
            if (f := level.update([plain([x], 0.0)])) and f.severity == "page"
        ]
        if [index for index in [fast[run]] if np.isfinite(index)] != pages:
            complaints.append(f"run {run}: the fast form alarms at {fast[run]}, level at {pages}")
    return complaints


def complaints_about(level: Row) -> list[str]:
    """Figures of the tolerance alarm that are far from where they were when it was written."""
    medians = [float(np.nanmedian(delay)) for delay in level.delay]
    bounds = [
        ("false alarms below the tolerance", max(level.null[:3]), 0.0, 0.01),
        ("false alarms under wobble", level.null[3], 0.0, 0.04),
        ("false alarms at the tolerance", level.null[4], 0.0, 0.04),
        (".08 > .16", medians[2], 500, 900),
        (".08 > .24", medians[3], 110, 230),
        ("late .16", medians[4], 550, 1300),
    ]
    return [
        f"{name}: {value:.3f} is not in [{low}, {high}]"
        for name, value, low, high in bounds
        if not low <= value <= high
    ]


def main() -> int:
    """Print the table; say what is wrong with it."""
    parser = argparse.ArgumentParser(description="False alarms and delay, with peers.")
    parser.add_argument("--size", choices=SIZES, default="small")
    size = SIZES[parser.parse_args().size]
    rows = [measure(method, size) for method in methods()]
    print_table(rows, size)
    complaints = disagreement_with_shipped() + complaints_about(rows[0])
    for complaint in complaints:
        print(f"WRONG: {complaint}")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
