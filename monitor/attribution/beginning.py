"""When the mean loss rose: the moment that divides the time before from the time since."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from schemas.windows import Moments

#: Standard errors that the means on both sides of a moment must be apart.
APART: Final = 3.0


def beginning(windows: Sequence[Moments]) -> int:
    """Return the index of the first window of the rise; 0 where nothing rose since the first.

    Of all moments the one at which the mean after it lies furthest above the mean before it, in
    standard errors: the likeliest one for a single step (Page, 1955). It only says where to look.

    Parameters
    ----------
    windows: moments of the losses, or scores, of consecutive windows.

    >>> calm, worse = Moments(100, 8.0, 8.0), Moments(100, 20.0, 20.0)
    >>> beginning([calm] * 40 + [worse] * 5), beginning([worse] * 45)
    (40, 0)
    """
    n, total, squares = np.array([(w.n, w.total, w.squares) for w in windows]).T.cumsum(axis=1)
    before, after = n[:-1], n[-1] - n[:-1]
    known = (before > 0) & (after > 0)
    variance = squares[-1] / n[-1] - (total[-1] / n[-1]) ** 2 if n[-1] else 0.0
    if not known.any() or variance <= 0:
        return 0
    with np.errstate(divide="ignore", invalid="ignore"):
        rise = (total[-1] - total[:-1]) / after - total[:-1] / before
        apart = np.where(known, rise / np.sqrt(variance * (1 / before + 1 / after)), 0.0)
    best = int(apart.argmax())
    return best + 1 if apart[best] >= APART else 0
