"""The classification lane: where a student starts from, and what each row teaches it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from retrain.data.dataset import DatasetRow
from retrain.order import TrainSettings
from retrain.worker.pooling import start_as_mean, teach_only_top
from retrain.worker.student import Student, load_student, pad, quiet
from retrain.worker.tokenizer import train_tokenizer
from schemas.errors import ProctordError

if TYPE_CHECKING:
    from torch import Tensor

#: positions of a student from scratch: more than it reads today, so that it may read more later
_POSITIONS = 512
_HEAD = 64  # width of an attention head
_BASES = 'set base = "scratch", or the path of the directory of a BERT model'


class Lesson(msgspec.Struct, frozen=True, kw_only=True):
    """The training rows as tensors.

    Shapes: tokens, mask [rows, longest]; hard, alpha, weight [rows]; soft [rows, labels].
    """

    tokens: Tensor
    mask: Tensor
    #: tokens of each row
    lengths: tuple[int, ...]
    hard: Tensor
    soft: Tensor
    alpha: Tensor
    weight: Tensor


def start(
    settings: TrainSettings, rows: Sequence[DatasetRow], champion: Path | None, seed: int
) -> Student:
    """Return the student that training begins with: the champion, a base model, or a new one.

    A champion keeps its tokenizer and its labels; classes that it does not know are added behind
    them.

    Raises
    ------
    ProctordError: the base is no directory, or the rows hold fewer than two classes.
    """
    import torch

    quiet()
    known = load_student(champion) if champion else None
    labels = _labels(rows, known)
    torch.manual_seed(seed)
    if known is not None:
        student = _grown(known, labels)
    elif settings.base == "scratch":
        student = _from_scratch(settings, rows, labels)
    else:
        student = _from_base(settings, labels)
    if settings.base != "scratch":
        teach_only_top(student.model, settings.taught_layers)
    return student


def _labels(rows: Sequence[DatasetRow], known: Student | None) -> tuple[str, ...]:
    old = known.labels if known else ()
    labels = (*old, *sorted({row.output for row in rows} - set(old)))
    if len(labels) < 2:
        raise ProctordError(
            f"the {len(rows)} training rows hold one class only: {', '.join(labels)}",
            next_step="check the teacher and the comparator: every ticket got the same label",
        )
    return labels


def _grown(known: Student, labels: Sequence[str]) -> Student:
    if len(labels) == len(known.labels):
        return Student(known.model, known.tokenizer, labels)
    import torch
    from transformers import AutoModelForSequenceClassification

    config = type(known.model.config).from_dict(known.model.config.to_dict())
    config.num_labels = len(labels)
    model = AutoModelForSequenceClassification.from_config(config)
    old = known.model.state_dict()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            # only the head differs: its first rows are the labels that were known
            value[: len(old[name])] = old[name]
    return Student(model, known.tokenizer, labels)


def _from_base(settings: TrainSettings, labels: Sequence[str]) -> Student:
    from transformers import AutoConfig, AutoTokenizer, BertForSequenceClassification

    if not Path(settings.base).is_dir():
        raise ProctordError(f"the base model {settings.base} is no directory", next_step=_BASES)
    config = AutoConfig.from_pretrained(settings.base, local_files_only=True)
    if config.model_type != "bert":
        raise ProctordError(
            f"the base model {settings.base} is of type {config.model_type}", next_step=_BASES
        )
    config.num_labels = len(labels)
    # one more layer than the base has: the one that averages
    config.num_hidden_layers += 1
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    model = BertForSequenceClassification.from_pretrained(
        settings.base, config=config, local_files_only=True, use_safetensors=True
    )
    start_as_mean(model)
    tokenizer = AutoTokenizer.from_pretrained(settings.base, local_files_only=True)
    tokenizer.model_max_length = settings.max_tokens
    return Student(model, tokenizer, labels)


def _from_scratch(
    settings: TrainSettings, rows: Sequence[DatasetRow], labels: Sequence[str]
) -> Student:
    from transformers import BertConfig, BertForSequenceClassification

    tokenizer = train_tokenizer(
        [row.text for row in rows],
        vocabulary=settings.vocabulary,
        max_tokens=settings.max_tokens,
    )
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden,
        num_hidden_layers=settings.layers,
        num_attention_heads=max(1, settings.hidden // _HEAD),
        intermediate_size=4 * settings.hidden,
        max_position_embeddings=max(_POSITIONS, settings.max_tokens),
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=len(labels),
        pad_token_id=tokenizer.pad_token_id,
    )
    model = BertForSequenceClassification(config)
    start_as_mean(model)
    return Student(model, tokenizer, labels)


def lesson(student: Student, rows: Sequence[DatasetRow], settings: TrainSettings) -> Lesson:
    """Return the training rows as tensors, tokenised once, with softened teacher distributions."""
    import torch

    from retrain.worker.losses import soften

    ids = student.encode([row.text for row in rows])
    tokens, mask = pad(ids, student.tokenizer.pad_token_id)
    index = {label: i for i, label in enumerate(student.labels)}
    taught = np.stack([distribution(row, index) for row in rows])
    return Lesson(
        tokens=torch.from_numpy(tokens),
        mask=torch.from_numpy(mask),
        lengths=tuple(len(row) for row in ids),
        hard=torch.tensor([index[row.output] for row in rows]),
        soft=soften(torch.from_numpy(taught), settings.temperature),
        alpha=torch.tensor([settings.alpha if row.probabilities else 0.0 for row in rows]),
        weight=torch.tensor([row.weight for row in rows], dtype=torch.float32),
    )


def distribution(row: DatasetRow, index: dict[str, int]) -> np.ndarray[Any, Any]:
    """Return the teacher's distribution over the student's labels, shape [labels], sum 1.

    What the teacher did not state, or gave to labels that the student does not have, is spread
    evenly over the labels that it did not name. A teacher that states nothing gave its label
    with certainty.
    """
    stated = row.probabilities or ((row.output, 1.0),)
    found = np.zeros(len(index), dtype=np.float32)
    for label, probability in stated:
        if label in index:
            found[index[label]] = probability
    rest = max(0.0, 1.0 - float(found.sum()))
    silent = found == 0.0
    if silent.any():
        found[silent] = rest / silent.sum()
    shares: np.ndarray[Any, Any] = found / found.sum()
    return shares
