"""How often do the gates let through what they should not, and what does certainty cost?

`python tests/bench/bench_gates.py [--size small|full]`. Every share is given with its standard
error; the promise is that a challenger at the limit passes at most once in twenty.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from retrain.gates import ALPHA, GATES, spent_at
from retrain.gates.evidence import Evidence
from schemas.contract import QualityContract

LIMIT, MARGIN = 0.10, 0.02
CONTRACT = QualityContract(tolerance=LIMIT, non_inferiority_margin=MARGIN)


def draw_quality(rng: np.random.Generator, n: int, loss: float) -> Evidence:
    """Return rows of a challenger with a true loss, without a champion."""
    return Evidence(challenger=(rng.random(n) < loss) * 1.0, champion=None, weights=np.ones(n))


def draw_pair(rng: np.random.Generator, n: int, increase: float, only_champion: float) -> Evidence:
    """Return paired rows; both err on 3 % of them, and each alone on some."""
    u = rng.random(n)
    both = 0.03
    challenger = u < both + only_champion + increase
    alone = (u >= both + only_champion + increase) & (u < both + 2 * only_champion + increase)
    champion = (u < both) | alone
    return Evidence(challenger=challenger * 1.0, champion=champion * 1.0, weights=np.ones(n))


def draw_uneven(rng: np.random.Generator, n: int, loss: float) -> Evidence:
    """Return graded losses of rows that were drawn at two rates."""
    weights = rng.choice([0.25, 1.0], n)
    losses = rng.beta(loss * 4, (1 - loss) * 4, n)
    return Evidence(challenger=losses, champion=None, weights=weights)


def tally(draw: Callable[[np.random.Generator], Evidence], gate: str, sims: int) -> Counter[str]:
    """Return how often a gate gave each outcome."""
    rng = np.random.default_rng(11)
    return Counter(GATES[gate](draw(rng), CONTRACT, ALPHA).outcome for _ in range(sims))


def show(title: str, counts: Counter[str], sims: int, promise: str = "") -> None:
    """Print one line of shares."""
    shares = (f"{name} {counts[name] / sims:6.1%}" for name in ("pass", "inconclusive", "fail"))
    error = (max(counts["pass"], 1) / sims / sims) ** 0.5
    print(f"  {title:<52} {'  '.join(shares)}  (± {error:.1%})  {promise}")


def looks(sims: int, n: int, most: int) -> tuple[float, float]:
    """Return how often a challenger at the limit passes at any of `most` looks.

    First as `judge` does it, each look spending its share; then as if each look were the only
    one: what would happen without the shares.
    """
    rng = np.random.default_rng(12)
    shared = alone = 0
    for _ in range(sims):
        wrong = (rng.random(n * 2**most) < LIMIT) * 1.0
        parts = [wrong[: n * 2**k] for k in range(most)]
        rows = [Evidence(challenger=p, champion=None, weights=np.ones(len(p))) for p in parts]
        gate = GATES["quality"]
        shared += any(
            gate(r, CONTRACT, spent_at(k)).outcome == "pass" for k, r in enumerate(rows, start=1)
        )
        alone += any(gate(r, CONTRACT, ALPHA).outcome == "pass" for r in rows)
    return shared / sims, alone / sims


def rows_to_pass(loss: float, sizes: Iterator[int], sims: int) -> int | None:
    """Return the first size at which four of five challengers of this loss pass."""
    for n in sizes:
        counts = tally(lambda rng, n=n: draw_quality(rng, n, loss), "quality", sims)  # type: ignore[misc]
        if counts["pass"] >= 0.8 * sims:
            return n
    return None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=("small", "full"), default="full")
    sims = 2000 if parser.parse_args().size == "full" else 200

    print(f"quality, limit {LIMIT:.0%}, {sims} simulations each")
    for n in (100, 300, 1000):
        for loss in (LIMIT, 0.05, 0.15):
            counts = tally(lambda rng, n=n, p=loss: draw_quality(rng, n, p), "quality", sims)  # type: ignore[misc]
            show(f"n {n}, true loss {loss:.0%}", counts, sims, promise(at_limit=loss >= LIMIT))
    for n in (300, 1000):
        counts = tally(lambda rng, n=n: draw_uneven(rng, n, LIMIT), "quality", sims)  # type: ignore[misc]
        show(f"n {n}, graded, unequal rates, true loss 10%", counts, sims, promise(at_limit=True))

    print(f"non_inferiority, margin {MARGIN:.0%}, {sims} simulations each")
    for n in (300, 1000, 3000):
        for increase, alone in (
            (MARGIN, 0.0),
            (MARGIN, 0.02),
            (MARGIN, 0.1),
            (0.0, 0.025),
            (-0.05, 0.08),
        ):
            counts = tally(
                lambda rng, n=n, i=increase, a=alone: draw_pair(rng, n, i, a),  # type: ignore[misc]
                "non_inferiority",
                sims,
            )
            title = f"n {n}, increase {increase:+.0%}, only champion wrong {alone:.1%}"
            show(title, counts, sims, promise(at_limit=increase >= MARGIN))

    for n in (100, 400):
        shared, alone = looks(sims, n, 4)
        print(f"4 looks from {n} rows, doubled each time, true loss at the limit:")
        print(f"  some look passes: {shared:.1%}; without sharing the error: {alone:.1%}")

    print("rows that let four of five pass at once, quality, limit 10%:")
    for loss in (0.01, 0.03, 0.05, 0.07):
        print(
            f"  true loss {loss:.0%}: {rows_to_pass(loss, iter(range(30, 3000, 20)), sims // 10)}"
        )


def promise(*, at_limit: bool) -> str:
    """Say what may not be exceeded."""
    return f"<- pass may be {ALPHA:.0%}" if at_limit else ""


if __name__ == "__main__":
    main()
