"""How often do the gates let through what they should not, and how many labels do they take?

    python -m tests.bench.bench_gates [--size small|full]

Three tables:

1. Students at a limit, looked at after every row: the share that ever passes may be 5 %. Peer: a
   z-test of the same pairs, looked at as often from 30 rows on.
2. Labels until a student passes `non_inferiority`, of the tickets on which both students differ:
   the others cost nothing, where a label is only bought when it can matter. Here both students err
   on the same tickets with the same answer, so that they differ where one of them is right.
3. Rows until a student passes both gates as the loop asks them: first on its hold-out, then at
   every 100 fresh labels. Peers: exact bounds (Clopper and Pearson 1934; Tango 1998, with half a row
   of continuity correction), with the error shared over looks that double the rows (80 % for the
   first, then halves of what is left), or with all of it at every look, which is not allowed.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, ndtri

from retrain.gates import ALPHA, GATES
from retrain.gates.bounds import STAKES, log_money, stakes
from retrain.gates.evidence import Evidence
from retrain.loop import FRESH_AT_LEAST
from schemas.contract import QualityContract

LIMIT, MARGIN = 0.10, 0.02
ENOUGH = -math.log(ALPHA)
#: labels after which nobody waits any longer
MOST = 3200

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Pair(NamedTuple):
    """Shares of tickets: both students err, only the challenger, only the champion."""

    both: float
    worse: float
    better: float

    @property
    def loss(self) -> float:
        """The challenger's."""
        return self.both + self.worse

    @property
    def increase(self) -> float:
        """Of the loss, from champion to challenger."""
        return self.worse - self.better


#: the losses of each kind of ticket, the fourth being that nobody errs
LOSSES, INCREASES = (1.0, 1.0, 0.0, 0.0), (0.0, 1.0, -1.0, 0.0)

BETTER = Pair(0.05, 0.01, 0.03)
EQUAL = Pair(0.04, 0.02, 0.02)
WORLDS = {
    "6 % after 8 %": BETTER,
    "6 % after 6 %, differing on 4 %": EQUAL,
    "6 % after 6 %, differing on 10 %": Pair(0.01, 0.05, 0.05),
    "4 % after 4 %, differing on 1 %": Pair(0.035, 0.005, 0.005),
    "2 % after 12 %": Pair(0.01, 0.01, 0.11),
    "at the margin: 7 % after 5 %": Pair(0.03, 0.04, 0.02),
    "at the limit: 10 % after 12 %": Pair(0.08, 0.02, 0.04),
}


def draw(pair: Pair, looks: Sequence[int], runs: int, seed: int = 11) -> Ints:
    """Return how many tickets of each kind were seen at each look. Shape [runs, looks, 4]."""
    steps = np.diff([0, *looks])
    chances = [*pair, 1.0 - sum(pair)]
    drawn = np.random.default_rng(seed).multinomial(steps, chances, size=(runs, len(steps)))
    counted: Ints = drawn.cumsum(axis=1)
    return counted


def money(counts: Ints, values: Sequence[float], mean: float) -> Floats:
    """Return `log_money` for many runs. Shape of counts [runs, looks, kinds], of it [runs, looks]."""
    won = np.log1p(np.outer(mean - np.array(values), stakes(mean, 1.0)))
    logs: Floats = np.logaddexp.reduce(counts @ won, axis=-1) - math.log(len(STAKES))
    return logs


def first(passed: Bools, at: Ints | Sequence[int]) -> Floats:
    """Return for each run what `at` says of its first look that passed; infinite: none did."""
    told = np.broadcast_to(at, passed.shape)
    found = np.take_along_axis(told, passed.argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.where(passed.any(axis=1), found, np.inf)


def disagreements(runs: int = 30) -> int:
    """Return on how many of some rows the form for many runs says another thing than the gates."""
    contract = QualityContract(tolerance=LIMIT, non_inferiority_margin=MARGIN)
    found = 0
    for counts in draw(BETTER, [300], runs)[:, 0]:
        rows = Evidence(
            challenger=np.repeat(LOSSES, counts),
            champion=np.repeat(np.subtract(LOSSES, INCREASES), counts),
            weights=np.ones(300),
        )
        for name, values, limit in (
            ("quality", LOSSES, LIMIT),
            ("non_inferiority", INCREASES, MARGIN),
        ):
            passed = GATES[name](rows, contract, ALPHA).outcome == "pass"
            found += passed != bool(money(counts, values, limit) >= ENOUGH)
    return found


# --- 1: the promise --------------------------------------------------------------------------

AT_LIMIT = {
    "quality": (Pair(0.08, 0.02, 0.04), LOSSES, LIMIT),
    "non_inferiority, 4 % and 2 % alone": (Pair(0.03, 0.04, 0.02), INCREASES, MARGIN),
    "non_inferiority, 2 % and 0 % alone": (Pair(0.03, 0.02, 0.0), INCREASES, MARGIN),
    "non_inferiority, 12 % and 10 % alone": (Pair(0.03, 0.12, 0.10), INCREASES, MARGIN),
}


def ever_passes(name: str, rows: int, runs: int) -> tuple[float, float]:
    """Return the share of runs that ever pass a gate at its limit, and a z-test of the same rows."""
    pair, values, limit = AT_LIMIT[name]
    looks = range(1, rows + 1)
    counts = draw(pair, looks, runs)
    mean = counts @ np.array(values) / np.array(looks)
    spread = counts @ np.square(values) / np.array(looks) - mean**2
    z = (limit - mean) / np.sqrt(np.maximum(spread, 1e-9) / np.array(looks))
    peer = (z[:, 29:] >= -ndtri(ALPHA)) & (spread[:, 29:] > 0)
    return (
        float((money(counts, values, limit) >= ENOUGH).any(axis=1).mean()),
        float(peer.any(axis=1).mean()),
    )


def falling_rates(rng: np.random.Generator, rows: int) -> tuple[Floats, Floats]:
    """Losses of 10 % that were labelled at a rate that halves twice."""
    rates = np.repeat([0.2, 0.1, 0.05], math.ceil(rows / 3))[:rows]
    return (rng.random(rows) < LIMIT).astype(float), rates


def risky_rates(rng: np.random.Generator, rows: int) -> tuple[Floats, Floats]:
    """Graded losses of 10 % where half of the traffic is worse, and labelled four times as often."""
    risky = rng.random(rows) < 0.8
    # of the labels 80 %, of the traffic half: 16 % and 4 %
    losses = np.where(risky, rng.beta(0.8, 4.2, rows), rng.beta(0.2, 4.8, rows))
    return losses.astype(np.float64), np.where(risky, 0.2, 0.05)


WEIGHTED = {
    "quality, the rate of labels halves twice": falling_rates,
    "quality, graded, the risky labelled more": risky_rates,
}


def ever_passes_weighted(
    stream: Callable[[np.random.Generator, int], tuple[Floats, Floats]], runs: int
) -> float:
    """Return the share of runs that ever pass at the limit, on weighted rows, every 100 of them."""
    rng = np.random.default_rng(12)
    passed = 0
    for _ in range(runs):
        losses, rates = stream(rng, 1500)
        passed += any(
            _money_of(losses[:n], rates[:n].min() / rates[:n]) >= ENOUGH
            for n in range(100, 1501, 100)
        )
    return passed / runs


def _money_of(losses: Floats, weights: Floats) -> float:
    return log_money(np.stack([losses, weights]), np.ones(len(losses)), LIMIT, 1.0)


# --- 2: labels of tickets on which they differ -----------------------------------------------


def differing_labels(pair: Pair, margin: float, runs: int, most: int) -> Floats:
    """Return the labels bought until each run passes, looking at every ticket."""
    bought = []
    for part in range(math.ceil(runs / 100)):  # a hundred at a time: memory
        counts = draw(pair, range(1, most + 1), 100, seed=part)
        differing = counts[..., 1] + counts[..., 2]
        bought.append(first(money(counts, INCREASES, margin) >= ENOUGH, differing))
    return np.concatenate(bought)


# --- 3: rows until both gates pass -----------------------------------------------------------


def by_bets(pair: Pair, held_out: int, runs: int) -> Floats:
    """As the product does it."""
    looks = range(held_out, MOST + 1, FRESH_AT_LEAST)
    counts = draw(pair, looks, runs)
    passed = money(counts, LOSSES, LIMIT) >= ENOUGH
    return first(passed & (money(counts, INCREASES, MARGIN) >= ENOUGH), looks)


def by_exact(pair: Pair, looks: Sequence[int], alphas: Floats, runs: int) -> Floats:
    """Exact bounds, each look with an error of its own."""
    counts, n = draw(pair, looks, runs), np.array(looks)
    errors = counts[..., 0] + counts[..., 1]
    good = betainc(errors + 1.0, np.maximum(n - errors, 1e-9), LIMIT) >= 1 - alphas
    return first(good & (tango(counts, n, MARGIN) <= ndtri(alphas)), looks)


def tango(counts: Ints, n: Ints, difference: float) -> Floats:
    """Return the score statistic of H0: the loss increases by this much."""
    worse, better = counts[..., 1], counts[..., 2]
    # the likelihood is largest under H0 at this P(only B errs): the root of a quadratic
    b = (2.0 * n - worse + better) * difference - worse - better
    root = np.sqrt(np.maximum(0.0, b * b + 8.0 * n * better * difference * (1.0 - difference)))
    nuisance = (root - b) / (4.0 * n)
    variance = n * (2.0 * nuisance + difference * (1.0 - difference))
    gaps = worse - better - n * difference + 0.5
    statistic: Floats = gaps / np.sqrt(np.maximum(variance, 1e-12))
    return statistic


def doublings(held_out: int) -> list[int]:
    """Return looks that double the rows."""
    return [held_out * 2**k for k in range(int(math.log2(MOST / held_out)) + 1)]


def shared(looks: int) -> Floats:
    """Return errors of so many looks that sum to less than `ALPHA`."""
    return ALPHA * np.array([0.8, *(0.2 * 0.5**k for k in range(1, looks))])


def ways(pair: Pair, held_out: int, runs: int) -> Iterator[tuple[str, Floats]]:
    """Return the rows until both gates pass, by every way of looking."""
    yield "bets", by_bets(pair, held_out, runs)
    looks = doublings(held_out)
    yield "exact, shared", by_exact(pair, looks, shared(len(looks)), runs)
    often = range(held_out, MOST + 1, FRESH_AT_LEAST)
    yield "exact, 5 % a look", by_exact(pair, often, np.full(len(often), ALPHA), runs)


# --- the tables ------------------------------------------------------------------------------


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=("small", "full"), default="full")
    runs = 2000 if parser.parse_args().size == "full" else 200
    error = math.sqrt(ALPHA * (1 - ALPHA) / runs)

    print(f"ever passes at the limit, {runs} runs of 1 500 rows (± {error:.1%}); allowed 5 %")
    for name in AT_LIMIT:
        ours, peer = ever_passes(name, 1500, runs)
        print(f"  {name:<44} {ours:6.1%}   z-test {peer:6.1%}")
    for name, stream in WEIGHTED.items():
        print(f"  {name:<44} {ever_passes_weighted(stream, runs // 4):6.1%}")

    print("labels of differing tickets until `non_inferiority` passes (median, 90 %, passed)")
    for title, pair, margin in (
        ("6 % after 8 %", BETTER, 0.02),
        ("6 % after 8 %", BETTER, 0.01),
        ("6 % after 8 %", BETTER, 0.0),
        ("6 % after 6 %", EQUAL, 0.02),
        ("6 % after 6 %", EQUAL, 0.01),
    ):
        bought = differing_labels(pair, margin, runs // 4, 10_000)
        middle, ninth = np.quantile(bought, [0.5, 0.9], method="higher")
        share = np.isfinite(bought).mean()
        print(f"  {title}, margin {margin:.0%}: {middle:5.0f} {ninth:5.0f} {share:7.1%}")

    for held_out in (80, 400):
        print(f"rows until both gates pass, at most {MOST}, {held_out} held out: mean, passed")
        for title, pair in WORLDS.items():
            told = (
                f"{name} {np.minimum(rows, MOST).mean():6.0f} {np.isfinite(rows).mean():6.1%}"
                for name, rows in ways(pair, held_out, runs)
            )
            print(f"  {title:<34} {'   '.join(told)}")


if __name__ == "__main__":
    main()
