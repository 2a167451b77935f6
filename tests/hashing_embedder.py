"""An embedder for tests that need vectors and no model: words, hashed."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray


class HashingEmbedder:
    """Texts that share words have vectors that are near.

    Parameters
    ----------
    name: stands for the model's bytes.
    """

    DIMENSIONS = 32

    def __init__(self, name: str = "hashing") -> None:
        self._name = name
        self.texts: list[str] = []

    @property
    def fingerprint(self) -> str:
        return self._name

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts += texts
        found = np.zeros((len(texts), self.DIMENSIONS), dtype=np.float32)
        found[:, 0] = 0.1  # a text without words has a direction too
        for row, text in zip(found, texts, strict=True):
            for word in text.encode("utf-8", "replace").split():
                row[crc32(word) % self.DIMENSIONS] += 1
        lengths: NDArray[np.float32] = np.linalg.norm(found, axis=1, keepdims=True)
        return found / lengths
