"""The curve of disagreement: one line of bars, from the first customer to the last."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean
from typing import Final

from rich.text import Text

_BARS: Final = "▁▂▃▄▅▆▇█"
#: the disagreement that fills a bar
_CEILING: Final = 0.5


class Curve:
    """Disagreement by customers served; red where it is above what was accepted.

    >>> curve = Curve(customers=400, accepted=0.1)
    >>> for served, disagreement in [(100, 0.0), (200, 0.05), (300, 0.3)]:
    ...     curve.add(served, disagreement)
    >>> curve.drawn(8).plain
    '·▁·▂·▅··'
    """

    def __init__(self, customers: int, accepted: float) -> None:
        self._customers = customers
        self._accepted = accepted
        self._points: list[tuple[int, float]] = []

    @property
    def newest(self) -> float | None:
        """The last point; None before the first."""
        return self._points[-1][1] if self._points else None

    def add(self, served: int, disagreement: float) -> None:
        """Add a point: the disagreement when so many customers had been served."""
        self._points.append((served, disagreement))

    def drawn(self, width: int) -> Text:
        """Draw all customers in `width` characters; a dot where nothing is known."""
        columns: dict[int, list[float]] = defaultdict(list)
        for served, disagreement in self._points:
            columns[(max(1, served) - 1) * width // self._customers].append(disagreement)
        text = Text()
        for column in range(width):
            if column in columns:
                mean = fmean(columns[column])
                text.append(_bar(mean), "red" if mean > self._accepted else "green")
            else:
                text.append("·", "dim")
        return text


def _bar(disagreement: float) -> str:
    return _BARS[min(len(_BARS) - 1, round(disagreement / _CEILING * (len(_BARS) - 1)))]
