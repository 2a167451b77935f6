"""Teaching: transformers' `Trainer` with our batches, our loss and our checkpoints."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from retrain.order import TrainSettings
from retrain.worker import checkpoint
from retrain.worker.batching import plan
from retrain.worker.classify import Lesson
from retrain.worker.heartbeat import Pulse
from retrain.worker.student import Student
from schemas.errors import ProctordError

#: share of the steps in which the learning rate rises to its full value
WARM_UP = 0.06
_DECAY = 0.01  # of weights, a step, times the learning rate
_CLIP = 1.0  # norm of the gradient


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """How one training goes."""

    epochs: float
    learning_rate: float
    token_budget: int
    temperature: float
    save_seconds: float
    seed: int
    #: directory of the checkpoints, and what they must agree on to be resumed
    checkpoints: Path
    fingerprint: str


def course_of(
    settings: TrainSettings, *, warm: bool, seed: int, run_dir: Path, fingerprint: str
) -> Course:
    """Return the course that the settings ask for, from a champion (`warm`) or not."""
    return Course(
        epochs=settings.epochs_warm if warm else settings.epochs,
        learning_rate=settings.learning_rate_warm if warm else settings.learning_rate,
        token_budget=settings.token_budget,
        temperature=settings.temperature,
        save_seconds=settings.save_seconds,
        seed=seed,
        checkpoints=run_dir / "checkpoints",
        fingerprint=fingerprint,
    )


def teach(
    student: Student, lesson: Lesson, course: Course, pulse: Pulse, stopped: Callable[[], bool]
) -> int:
    """Train the student in place, from the newest whole checkpoint if there is one.

    Returns the number of steps of the course. When `stopped()` turns true a checkpoint is
    written and training ends early; the caller looks at `stopped()` again.

    Guarantee: a resumed training ends in the same weights, bit for bit, as one that ran through
    on the same machine with the same number of threads.

    Raises
    ------
    ProctordError: the loss is not finite; says at which step.
    """
    batches = plan(
        lesson.lengths, budget=course.token_budget, epochs=course.epochs, seed=course.seed
    )
    trainer = _trainer_class()(student, lesson, course, batches, pulse, stopped)
    pulse.enter("training", steps=len(batches))
    found = checkpoint.newest(course.checkpoints, course.fingerprint)
    trainer.train(resume_from_checkpoint=str(found) if found else None)
    return len(batches)


@cache
def _trainer_class() -> Any:  # noqa: C901 - two classes that need their base at hand
    """Return the class; made on first use, because its base takes seconds to import."""
    from transformers import PrinterCallback, Trainer, TrainerCallback

    class Watch(TrainerCallback):  # type: ignore[misc]  # the library is untyped
        """Beats, saves by the clock, and stops when asked."""

        def __init__(self, course: Course, pulse: Pulse, stopped: Callable[[], bool]) -> None:
            self.save_seconds = course.save_seconds
            self.pulse = pulse
            self.stopped = stopped
            self.saved = time.monotonic()

        def on_step_end(self, _args: Any, state: Any, control: Any, **_: Any) -> None:
            self.pulse.step = state.global_step
            if self.stopped():
                control.should_training_stop = control.should_save = True
            elif time.monotonic() - self.saved >= self.save_seconds:
                control.should_save = True

        def on_save(self, *_: Any, **__: Any) -> None:
            self.saved = time.monotonic()

    class StudentTrainer(Trainer):  # type: ignore[misc]  # the library is untyped
        """A `Trainer` whose whole schedule of batches is known before the first step.

        All epochs are one pass over that schedule: skipping the first N batches is then all
        that a resume needs, and no row order depends on a random state.
        """

        def __init__(
            self,
            student: Student,
            lesson: Lesson,
            course: Course,
            batches: list[list[int]],
            pulse: Pulse,
            stopped: Callable[[], bool],
        ) -> None:
            super().__init__(
                model=student.model,
                args=_arguments(course, len(batches)),
                callbacks=[Watch(course, pulse, stopped)],
            )
            self.remove_callback(PrinterCallback)
            self.lesson, self.course, self.batches, self.pulse = lesson, course, batches, pulse
            per_row = float(lesson.weight.mean())
            self.expected_weight = per_row * sum(map(len, batches)) / len(batches)
            # the loss is whole already; the library must not scale it once more
            self.loss_is_scaled_for_ga = True

        def get_train_dataloader(self) -> Any:
            from torch.utils.data import DataLoader

            rows = range(len(self.lesson.lengths))
            return DataLoader(rows, batch_sampler=self.batches, collate_fn=self._batch)  # type: ignore[arg-type]  # a range is a dataset

        def _batch(self, rows: list[int]) -> dict[str, Any]:
            width = max(self.lesson.lengths[i] for i in rows)
            return {
                "rows": rows,
                "input_ids": self.lesson.tokens[rows, :width],
                "attention_mask": self.lesson.mask[rows, :width],
            }

        def compute_loss(self, model: Any, inputs: dict[str, Any], *_: Any, **__: Any) -> Any:
            from retrain.worker.losses import batch_loss, row_losses

            rows, lesson = inputs.pop("rows"), self.lesson
            logits = model(**inputs).logits
            each = row_losses(
                logits,
                lesson.hard[rows],
                lesson.soft[rows],
                lesson.alpha[rows],
                self.course.temperature,
            )
            loss = batch_loss(each, lesson.weight[rows], self.expected_weight)
            self._note(float(loss.detach()), inputs["input_ids"].numel())
            return loss

        def _note(self, loss: float, tokens: int) -> None:
            self.pulse.tokens += tokens
            # the JSON of a heartbeat cannot say NaN, and weights after this step are lost
            if not abs(loss) < float("inf"):
                raise ProctordError(
                    f"the loss is not finite at step {self.state.global_step + 1}: {loss}",
                    next_step="lower the learning rate; the rows of this run are in dataset/",
                )
            self.pulse.loss = loss

        def floating_point_ops(self, _inputs: Any) -> int:
            return 0

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            def fill(draft: Path) -> None:
                self.args.output_dir = str(draft)
                super(StudentTrainer, self)._save_checkpoint(model, trial)
                inner = draft / f"checkpoint-{self.state.global_step}"
                # a pickle that nobody reads
                (inner / "training_args.bin").unlink()
                for path in list(inner.iterdir()):
                    path.rename(draft / path.name)
                shutil.rmtree(inner)

            checkpoint.write(
                self.course.checkpoints, self.state.global_step, self.course.fingerprint, fill
            )

    return StudentTrainer


def _arguments(course: Course, steps: int) -> Any:
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(checkpoint.draft_of(course.checkpoints)),
        num_train_epochs=1,
        per_device_train_batch_size=1,
        learning_rate=course.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=max(1, round(WARM_UP * steps)),
        weight_decay=_DECAY,
        max_grad_norm=_CLIP,
        seed=course.seed,
        use_cpu=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        logging_strategy="no",
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
