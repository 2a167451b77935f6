"""An embedder from a directory on this machine: a transformers encoder, mean pooling, on the CPU."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ConfigError, DependencyDownError

#: a ticket says what it is about in its first tokens; reading on costs more than it tells
MOST_TOKENS: Final = 128
#: characters that hold more than so many tokens: the tokenizer need not read a novel
MOST_CHARS: Final = 2_000
#: texts read at once, of similar length, or padding would be most of the work
BATCH: Final = 32
#: what a directory must hold, beside the weights
NEEDED: Final = ("config.json", "tokenizer.json")


class LocalEmbedder:
    """A transformers encoder on disk; its texts' vectors are means over their tokens, normalised.

    Nothing is fetched, and no code of the directory is run. The model is loaded at the first
    text: some seconds and some hundred megabytes that a process without texts need not pay. One
    thread does all, so that it never takes more than one core from whatever else runs here.

    Raises
    ------
    ConfigError: the directory holds no such model, or torch and transformers are not installed.
    """

    def __init__(self, directory: Path) -> None:
        missing = [name for name in NEEDED if not (directory / name).is_file()]
        if missing or not list(directory.glob("*.safetensors")):
            raise ConfigError(
                f"`drift.embedder.model`: {directory} holds no model "
                f"(no {missing[0] if missing else '*.safetensors'})",
                next_step="name the directory of a transformers encoder with its tokenizer, "
                "for instance all-MiniLM-L6-v2, or leave [drift.embedder] out",
            )
        absent = [name for name in ("torch", "transformers") if not importlib.util.find_spec(name)]
        if absent:
            raise ConfigError(
                f"`drift.embedder`: {' and '.join(absent)} cannot be imported",
                next_step="install `proctord[train]`, or leave [drift.embedder] out",
            )
        self._directory = directory

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the model's files, and of how they are used."""
        digest = hashlib.blake2b(f"mean/{MOST_TOKENS}".encode(), digest_size=6)
        for path in sorted([*map(self._directory.joinpath, NEEDED), *self._weights()]):
            digest.update(path.name.encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "blake2b").digest())
        return digest.hexdigest()

    def _weights(self) -> list[Path]:
        return list(self._directory.glob("*.safetensors"))

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors, shape [texts, dimensions]."""
        tokenizer, model = self._model
        found = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
        if not texts:
            return found
        # a lone surrogate is no text to the tokenizer
        clean = [text[:MOST_CHARS].encode("utf-8", "replace").decode() for text in texts]
        ids = tokenizer(clean, truncation=True, max_length=MOST_TOKENS)["input_ids"]
        by_length = np.argsort([len(one) for one in ids], kind="stable")
        for start in range(0, len(ids), BATCH):
            batch = by_length[start : start + BATCH]
            found[batch] = self._means([ids[i] for i in batch])
        return found

    def _means(self, ids: list[list[int]]) -> NDArray[np.float32]:
        import torch

        tokenizer, model = self._model
        padded = tokenizer.pad({"input_ids": ids}, return_tensors="pt")
        try:
            with torch.inference_mode():
                tokens = model(**padded).last_hidden_state
        except RuntimeError as error:
            raise DependencyDownError(f"the embedder failed: {error}") from error
        mask = padded["attention_mask"].unsqueeze(-1)
        means = (tokens * mask).sum(1) / mask.sum(1)
        return np.asarray(torch.nn.functional.normalize(means, dim=1).numpy(), dtype=np.float32)

    @cached_property
    def _model(self) -> tuple[Any, Any]:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        import torch
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        torch.set_num_threads(1)
        options = {"local_files_only": True, "trust_remote_code": False}
        try:
            tokenizer = AutoTokenizer.from_pretrained(self._directory, **options)
            model = AutoModel.from_pretrained(self._directory, use_safetensors=True, **options)
        except Exception as error:  # a foreign library, and whatever it says means the same
            raise DependencyDownError(
                f"the embedder in {self._directory} cannot be loaded: {error}",
                next_step="`proctord doctor` tries it; or leave [drift.embedder] out",
            ) from error
        return tokenizer, model.eval()
