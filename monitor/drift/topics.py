"""What sampled tickets are about: their vectors, as counts that the other features' judges take.

A map is made once, from texts that are no part of what is judged: k-means cells of the vectors,
and bins of the distance to the nearest cell. After that a text is two numbers, and a slice the
counts of them: `topics`, how often each cell was nearest, and `novelty`, how far away texts were.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitor.drift.reading import Reading

Vectors = NDArray[np.float32]

#: Cells at most, and texts for each of them at least.
MOST_CELLS: Final = 32
TEXTS_A_CELL: Final = 10
#: Each fifth text makes no cell: to those that made it a cell is nearer than to new ones.
HELD_OUT: Final = 5
#: Shares of the held-out texts that lie nearer than each edge between bins.
EDGES: Final = (0.5, 0.75, 0.9)
#: Rounds of k-means; texts change cells but rarely after a dozen.
ROUNDS: Final = 30
#: Characters of an example.
EXAMPLE: Final = 50


class TopicMap(msgspec.Struct, frozen=True, kw_only=True):
    """Cells of meaning, and how far from them clean texts lie."""

    #: names this map: counts by two maps cannot be compared
    name: str
    #: float32, shape [cells, dimensions]
    centroids: bytes
    #: distances between bins, ascending
    edges: tuple[float, ...]
    #: of each cell, the text that is nearest to its centre, cut
    examples: tuple[str, ...]

    def read(self, vectors: Vectors) -> dict[str, Reading]:
        """Count texts by nearest cell and by distance: the readings of `topics` and `novelty`.

        Parameters
        ----------
        vectors: unit vectors, shape [texts, dimensions], of the embedder the map was made with.
        """
        cells = np.frombuffer(self.centroids, dtype=np.float32)
        nearest, distances = _nearest(vectors, cells.reshape(len(self.examples), -1))
        bins = np.searchsorted(self.edges, distances, side="right")
        return {"topics": _counted(nearest), "novelty": _counted(bins)}

    def words(self) -> dict[str, str]:
        """Return what to call each cell of `topics`."""
        return {str(cell): f"tickets like “{text}”" for cell, text in enumerate(self.examples)}


class EmbeddedSlice(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted in one slice of event time."""

    #: start, seconds UTC
    start: float
    #: `TopicMap.name` of the map it was counted by
    topic_map: str
    readings: dict[str, Reading]


def fit_map(vectors: Vectors, texts: Sequence[str], *, name: str) -> TopicMap:
    """Make a map from some hundred texts, which are to be judged by none of what comes of it.

    K-means (Lloyd, 1982) that begins at texts evenly spread over their sorted vectors: the same
    texts give the same map. Cells that no text is nearest to are dropped.

    Parameters
    ----------
    vectors: unit vectors, shape [texts, dimensions]; at least `TEXTS_A_CELL` of them.
    texts: redacted; pieces of some are kept as examples.

    >>> x, y = np.eye(2, dtype=np.float32)
    >>> made = fit_map(np.array([x, y] * 20), ["lost card", "new phone"] * 20, name="m")
    >>> made.examples
    ('new phone', 'lost card')
    >>> made.read(np.array([x, x, y]))["topics"]
    Reading(n=3, counts={'0': 1, '1': 2})
    """
    held_out = np.arange(len(vectors)) % HELD_OUT == HELD_OUT - 1
    fitted = vectors[~held_out]
    distinct = np.unique(fitted, axis=0)
    cells = min(MOST_CELLS, max(1, len(fitted) // TEXTS_A_CELL), len(distinct))
    centroids = distinct[np.linspace(0, len(distinct) - 1, cells).astype(int)]
    for _ in range(ROUNDS):
        nearest, _ = _nearest(fitted, centroids)
        centroids = np.stack([fitted[nearest == cell].mean(0) for cell in np.unique(nearest)])
    _, distances = _nearest(vectors[held_out], centroids)
    closest = (vectors @ centroids.T - (centroids**2).sum(1) / 2).argmax(0)
    return TopicMap(
        name=name,
        centroids=centroids.tobytes(),
        edges=tuple(np.quantile(distances, EDGES).tolist()),
        examples=tuple(_cut(texts[i]) for i in closest),
    )


def _nearest(vectors: Vectors, centroids: Vectors) -> tuple[NDArray[np.intp], Vectors]:
    """Return the nearest cell of each unit vector, and the distance to its centre."""
    squares = 1 - 2 * vectors @ centroids.T + (centroids**2).sum(1)
    nearest = squares.argmin(1)
    return nearest, np.sqrt(np.maximum(squares.min(1), 0))


def _counted(cells: NDArray[np.intp]) -> Reading:
    names, counts = np.unique(cells, return_counts=True)
    return Reading(len(cells), {str(cell): int(n) for cell, n in zip(names, counts, strict=True)})


def _cut(text: str) -> str:
    """Return the beginning of a text, on one line."""
    line = re.sub(r"\s+", " ", text).strip()
    return line if len(line) <= EXAMPLE else f"{line[:EXAMPLE].rsplit(' ', 1)[0]} …"
