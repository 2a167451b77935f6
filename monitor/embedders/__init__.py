"""An embedder: a model that turns a ticket's text into a vector, near for texts that mean alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Embedder(Protocol):
    """Turns texts into vectors; the same text into the same vector, up to rounding."""

    @property
    def fingerprint(self) -> str:
        """A name of the model's bytes: vectors of two fingerprints cannot be compared."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors, shape [texts, dimensions], float32, in the order of the texts.

        Raises
        ------
        DependencyDownError: the model cannot be loaded, or fails.
        """
