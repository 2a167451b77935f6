"""From one p-value after another to an alarm with a stated mean time between false ones."""

from __future__ import annotations

import math
from typing import Final

#: Powers of the calibrator: the small ones wait for a very small p, the large ones live on
#: many that are somewhat small.
POWERS: Final = (0.05, 0.1, 0.2, 0.4, 0.7)
#: Below this a p-value is a fiction: the reference has some dozens of slices.
LEAST_P: Final = 1e-9


def e_value(p: float) -> float:
    """Return a bet against "p is uniform": its mean is 1 under that, whatever else holds.

    The mean of kappa p^(kappa - 1) over POWERS, each of which integrates to 1 over p in (0, 1)
    (Vovk & Wang, 2021).

    >>> round(e_value(0.5), 2), round(e_value(0.001), 1)
    (0.42, 33.3)
    """
    p = max(p, LEAST_P)
    return sum(power * math.pow(p, power - 1) for power in POWERS) / len(POWERS)


def carry_on(evidence: float, p: float) -> float:
    """Return the Shiryaev-Roberts statistic after one more slice.

    R <- (1 + R) e. R minus the number of slices is a martingale with mean 0 while the slices are
    clean, so the mean time until R reaches A is at least A slices (Shin, Ramdas & Rinaldo,
    E-detectors, 2022).
    """
    return (1.0 + evidence) * e_value(p)


def threshold(*, per_year: float, slice_seconds: float, slices: int, watchers: int) -> float:
    """Return what the evidence of one watcher must reach for its share of the budget.

    Parameters
    ----------
    per_year: false alarms a year, of all watchers together, that the operator accepts.
    slice_seconds, slices: length of a slice, and slices in one block of this watcher.
    watchers: how many share the budget.

    >>> threshold(per_year=1.0, slice_seconds=86_400.0, slices=1, watchers=12)
    4383.0
    """
    year = 365.25 * 86_400.0
    return watchers * year / (slices * slice_seconds * per_year)
