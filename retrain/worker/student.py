"""A student in memory: texts in, labels and confidences out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from retrain.worker.batching import by_length

#: tokens of one batch when only answering
_ANSWER_BUDGET = 4096


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """`calibration.json`."""

    temperature: float


class Student:
    """A sequence classifier with its tokenizer, its labels and its temperature."""

    def __init__(
        self, model: Any, tokenizer: Any, labels: Sequence[str], temperature: float = 1.0
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.labels = tuple(labels)
        self.temperature = temperature

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text, cut to what the student reads."""
        found: list[list[int]] = self.tokenizer(list(texts), truncation=True)["input_ids"]
        return found

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Return the model's outputs, shape [texts, labels], in the order of the texts."""
        import torch

        ids = self.encode(texts)
        out = np.zeros((len(ids), len(self.labels)), dtype=np.float32)
        self.model.eval()
        with torch.inference_mode():
            for batch in by_length([len(row) for row in ids], _ANSWER_BUDGET):
                tokens, mask = pad([ids[i] for i in batch], self.tokenizer.pad_token_id)
                result = self.model(
                    input_ids=torch.from_numpy(tokens), attention_mask=torch.from_numpy(mask)
                )
                out[batch] = result.logits.numpy()
        return out

    def answer(self, texts: Sequence[str]) -> list[tuple[str, float]]:
        """Return each text's most probable label and the calibrated probability of it."""
        probabilities = softmax(self.logits(texts) / self.temperature)
        best = probabilities.argmax(-1)
        return [(self.labels[k], float(probabilities[i, k])) for i, k in enumerate(best)]

    def save(self, directory: Path) -> None:
        """Write all that is needed to serve it (see `retrain.artefact`)."""
        self.model.config.id2label = dict(enumerate(self.labels))
        self.model.config.label2id = {label: i for i, label in enumerate(self.labels)}
        self.model.save_pretrained(directory)
        self.tokenizer.save_pretrained(directory)
        (directory / "labels.json").write_bytes(msgspec.json.encode(self.labels))
        calibration = Calibration(temperature=self.temperature)
        (directory / "calibration.json").write_bytes(msgspec.json.encode(calibration))


def load_student(directory: Path) -> Student:
    """Load a student from its artefact; check it with `retrain.artefact.verify` first.

    Nothing is fetched and no code of the artefact is run.
    """
    quiet()
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(
        directory, local_files_only=True, use_safetensors=True
    )
    tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    labels = msgspec.json.decode((directory / "labels.json").read_bytes(), type=list[str])
    raw = (directory / "calibration.json").read_bytes()
    temperature = msgspec.json.decode(raw, type=Calibration).temperature
    return Student(model, tokenizer, labels, temperature)


def pad(rows: Sequence[Sequence[int]], filler: int) -> tuple[np.ndarray, np.ndarray]:
    """Return token ids and attention mask, each [rows, longest row], int64.

    >>> pad([[5, 6], [7]], 0)[0].tolist()
    [[5, 6], [7, 0]]
    """
    width = max(len(row) for row in rows)
    tokens = np.full((len(rows), width), filler, dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=np.int64)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return tokens, mask


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities along the last axis.

    >>> softmax(np.array([0.0, 0.0])).tolist()
    [0.5, 0.5]
    """
    powered = np.exp(logits - logits.max(-1, keepdims=True))
    shares: np.ndarray = powered / powered.sum(-1, keepdims=True)
    return shares


def quiet() -> None:
    """Keep the model library off line and off the terminal; call it before it is imported."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
