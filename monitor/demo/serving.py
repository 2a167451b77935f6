"""The shop's model server: it answers tickets with whichever student the pointer names.

This is production, as proctord sees it from outside: it knows the registry's pointer file and
the files of an artefact, and nothing else of proctord.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

#: texts answered at once: a small student is bound by calls, not by arithmetic
BATCH: Final = 64


class Reply(NamedTuple):
    """One answer of the champion."""

    output: str
    confidence: float
    model: str


class ChampionServer:
    """Serves the artefact that `champion.json` names, and follows the pointer when it moves."""

    def __init__(self, registry: Path, threads: int) -> None:
        self._registry = registry
        self._threads = threads
        self._serving = ""
        self._model: Any = None
        self._tokenizer: Any = None
        self._labels: list[str] = []
        self._temperature = 1.0
        #: wall seconds spent answering, and tickets answered: the student's measured latency
        self.seconds = 0.0
        self.answered = 0

    def answer(self, texts: Sequence[str]) -> list[Reply]:
        """Answer each text with a label and the calibrated probability that it is right."""
        self._follow_pointer()
        started = time.perf_counter()
        replies: list[Reply] = []
        for start in range(0, len(texts), BATCH):
            replies.extend(self._batch(texts[start : start + BATCH]))
        self.seconds += time.perf_counter() - started
        self.answered += len(texts)
        return replies

    def _batch(self, texts: Sequence[str]) -> list[Reply]:
        import torch

        tokens = self._tokenizer(list(texts), truncation=True, padding=True, return_tensors="pt")
        with torch.inference_mode():
            logits = self._model(
                input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
            ).logits.numpy()
        scaled = np.exp((logits - logits.max(-1, keepdims=True)) / self._temperature)
        shares = scaled / scaled.sum(-1, keepdims=True)
        best = shares.argmax(-1)
        return [
            Reply(self._labels[k], float(row[k]), self._serving)
            for row, k in zip(shares, best, strict=True)
        ]

    def _follow_pointer(self) -> None:
        pointer = json.loads((self._registry / "champion.json").read_text())
        if pointer["artefact_id"] != self._serving:
            self._load(pointer["artefact_id"])

    def _load(self, artefact_id: str) -> None:
        # read when torch loads: threads that wait by spinning starve all else that runs here
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        torch.set_num_threads(self._threads)
        directory = self._registry / "artefacts" / artefact_id
        self._model = AutoModelForSequenceClassification.from_pretrained(
            directory, local_files_only=True, use_safetensors=True
        ).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        self._labels = json.loads((directory / "labels.json").read_text())
        self._temperature = json.loads((directory / "calibration.json").read_text())["temperature"]
        self._serving = artefact_id
