"""What the training child makes of a core: against two baselines and the limit of the machine.

`python tests/bench/bench_training.py [--size small|full] [--threads N]`. All of one shape run in
turns in this process, the best of its turns counts, so that a busy machine disturbs the ratios
little. Tokens are those of the texts; padding does not count.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).parents[2]))

import msgspec
import torch

from retrain.data.dataset import DatasetRow
from retrain.order import TrainSettings
from retrain.worker.batching import plan
from retrain.worker.classify import Lesson, lesson, start
from retrain.worker.heartbeat import Pulse
from retrain.worker.losses import batch_loss, row_losses
from retrain.worker.student import Student, quiet
from retrain.worker.trainer import Course, teach

LABELS = 20
WORDS = 1500


def tickets(count: int) -> list[DatasetRow]:
    """Return rows whose lengths are spread as those of real tickets: most short, some long."""
    draw = random.Random(1)
    rows = []
    for i in range(count):
        label = draw.randrange(LABELS)
        words = [
            f"w{label}x",
            *(f"w{int(draw.paretovariate(0.7)) % WORDS}" for _ in range(_size(draw))),
        ]
        rows.append(
            DatasetRow(
                ticket_id=str(i),
                at=float(i),
                text=" ".join(words),
                output=f"label{label}",
                probabilities=((f"label{label}", 0.9),),
                reason="random",
                inclusion_probability=0.1,
                gold=None,
                cluster=str(i),
                weight=1.0,
            )
        )
    return rows


def _size(draw: random.Random) -> int:
    return max(3, min(40, int(draw.lognormvariate(2.3, 0.6))))


def ours(student: Student, taught: Lesson, settings: TrainSettings, home: Path) -> None:
    """Train as the child does."""
    course = Course(
        epochs=1.0,
        learning_rate=1e-3,
        token_budget=settings.token_budget,
        temperature=2.0,
        save_seconds=1e9,
        seed=1,
        checkpoints=home / str(time.monotonic_ns()),
        fingerprint="bench",
    )
    teach(student, taught, course, Pulse(home / "heartbeat.json", 1), lambda: False)


def bare(student: Student, taught: Lesson, settings: TrainSettings, _home: Path) -> None:
    """Train on the same batches with the same loss in the shortest loop that does it."""
    batches = plan(taught.lengths, budget=settings.token_budget, epochs=1.0, seed=1)
    expected = sum(map(len, batches)) / len(batches)
    optimiser = torch.optim.AdamW(student.model.parameters(), lr=1e-3, fused=True)
    student.model.train()
    for rows in batches:
        width = max(taught.lengths[i] for i in rows)
        logits = student.model(
            input_ids=taught.tokens[rows, :width], attention_mask=taught.mask[rows, :width]
        ).logits
        each = row_losses(logits, taught.hard[rows], taught.soft[rows], taught.alpha[rows], 2.0)
        batch_loss(each, taught.weight[rows], expected).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(student.model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()


def defaults(student: Student, taught: Lesson, _settings: TrainSettings, home: Path) -> None:
    """Train with `Trainer` as it comes: rows of 8, padded to the longest of the 8, with dropout."""
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    for module in student.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.1
    rows = [
        {"input_ids": taught.tokens[i, :n], "labels": int(taught.hard[i])}
        for i, n in enumerate(taught.lengths)
    ]
    arguments = TrainingArguments(
        output_dir=str(home), num_train_epochs=1, report_to=[], disable_tqdm=True,
        save_strategy="no", use_cpu=True, dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = Trainer(
        model=student.model,
        args=arguments,
        train_dataset=rows,  # type: ignore[arg-type]
        data_collator=DataCollatorWithPadding(student.tokenizer),
    )
    trainer.pop_callback(type(trainer.callback_handler.callbacks[-1]))  # the one that prints
    trainer.train()


Way = Callable[[Student, Lesson, TrainSettings, Path], None]
WAYS: dict[str, Way] = {"ours": ours, "bare loop": bare, "Trainer defaults": defaults}


def limit() -> float:
    """Return how many multiply-adds a second this machine does in large products."""
    a = torch.randn(1024, 1024)
    best = 1e9
    for _ in range(20):
        began = time.perf_counter()
        torch.mm(a, a)
        best = min(best, time.perf_counter() - began)
    return 1024**3 / best


def work(model: Any, taught: Lesson, budget: int) -> float:
    """Return the multiply-adds of one epoch in our batches: forward and twice that backward."""
    batches = plan(taught.lengths, budget=budget, epochs=1.0, seed=1)
    widths = [(len(b), max(taught.lengths[i] for i in b)) for b in batches]
    tokens = sum(rows * width for rows, width in widths)
    layers, hidden = model.config.num_hidden_layers, model.config.hidden_size
    weights = 12 * layers * hidden**2
    attention = sum(2 * layers * hidden * rows * width**2 for rows, width in widths)
    return 3.0 * (weights * tokens + attention)


def compare(settings: TrainSettings, rows: list[DatasetRow], turns: int) -> None:
    """Print one shape's figures."""
    best = dict.fromkeys(WAYS, 1e9)
    fastest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(turns):
            fastest = max(fastest, limit())
            for name, way in WAYS.items():
                student = start(settings, rows, None, seed=1)
                taught = lesson(student, rows, settings)
                began = time.perf_counter()
                way(student, taught, settings, Path(folder))
                best[name] = min(best[name], time.perf_counter() - began)
    tokens = sum(taught.lengths)
    share = work(student.model, taught, settings.token_budget) / best["ours"] / fastest
    print(f"{settings.layers}x{settings.hidden}, budget {settings.token_budget}, {len(rows)} rows:")
    for name, seconds in best.items():
        print(f"  {name:<17} {tokens / seconds:8.0f} tokens/s  {seconds:6.2f} s")
    print(
        f"  against Trainer defaults {best['Trainer defaults'] / best['ours']:.2f}x (target 2.2x)"
    )
    print(f"  against the bare loop    {best['bare loop'] / best['ours']:.0%} (target 95 %)")
    print(f"  share of the matmul limit {share:.0%} of {2 * fastest / 1e9:.0f} GFLOP/s")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=("small", "full"), default="full")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    quiet()
    full = options.size == "full"
    rows = tickets(3000 if full else 600)
    shapes = [TrainSettings(token_budget=b) for b in ((512, 2048) if full else (512,))]
    if full:
        shapes.append(msgspec.structs.replace(shapes[0], hidden=256))
    print(f"{options.threads} thread(s)")
    for settings in shapes:
        compare(settings, rows, turns=3 if full else 2)


if __name__ == "__main__":
    main()
