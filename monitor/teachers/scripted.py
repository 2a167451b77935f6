"""A teacher that answers from a list: for tests, for replay, for a recorded teacher's file.

It ships with the product so that whoever builds on proctord can test without a model.
"""

from __future__ import annotations

import gzip
import hashlib
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Self

import msgspec
from msgspec import Meta

from monitor.teachers import Question, TeacherAnswer
from schemas.errors import ConfigError, TeacherUnavailableError

_Amount = Annotated[float, Meta(ge=0)]
_Count = Annotated[int, Meta(ge=0)]


class RecordedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a teacher once said about one ticket."""

    #: None: it gave no label that is valid
    label: str | None
    #: (label, probability), most probable first
    probabilities: tuple[tuple[str, float], ...] = ()
    latency_ms: _Amount = 0.0
    input_tokens: _Count = 0
    output_tokens: _Count = 0
    cost_usd: _Amount = 0.0


class RecordedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a file of recorded tickets; fields that are not named here are ignored."""

    id: Annotated[str, Meta(min_length=1, max_length=200)]
    text: str
    teacher: RecordedAnswer
    #: a human's label
    gold: str | None = None


def read_recorded(path: Path) -> Iterator[RecordedRow]:
    """Read rows `{id, text, teacher: {label, latency_ms, cost_usd}, gold?}`, gzipped or not.

    Raises
    ------
    ConfigError: the file cannot be read, or a line is not such a row; names file and line.
    """
    decoder = msgspec.json.Decoder(RecordedRow)
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):  # noqa: B007 - the message below names it
                if line.strip():
                    yield decoder.decode(line)
    except (OSError, EOFError, msgspec.DecodeError, RecursionError) as error:
        where = f"{path}, line {number}" if number else f"{path}"
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ConfigError(
            f"{where}: {why}",
            next_step='each line is {"id": …, "text": …, "teacher": {"label": …}}',
        ) from error


class ScriptedTeacher:
    """Answers each ticket as the script says, and abstains (`invalid`) where it says nothing.

    A label that is not in the question's taxonomy is an abstention too, as with a real teacher.
    Threads may share it.

    >>> teacher = ScriptedTeacher({"t1": "refund"})
    >>> teacher.ask(Question(ticket_id="t1", text="my money back")).output
    'refund'
    >>> teacher.ask(Question(ticket_id="t2", text="hello")).abstained
    'invalid'
    """

    def __init__(
        self, script: Mapping[str, TeacherAnswer | str], *, name: str = "scripted"
    ) -> None:
        self._script = {ticket: _as_answer(answer) for ticket, answer in script.items()}
        self._failures: deque[TeacherUnavailableError] = deque()
        self.name = name
        self.prompt_hash = _hash_of(self._script)

    @classmethod
    def from_file(cls, path: Path, *, name: str = "scripted") -> Self:
        """Play back a file of recorded rows; of rows with one id the last counts.

        Raises
        ------
        ConfigError: as `read_recorded`.
        """
        return cls({row.id: _recorded(row.teacher) for row in read_recorded(path)}, name=name)

    def fail_next(self, *errors: TeacherUnavailableError) -> None:
        """Raise these, one a question, before answering again."""
        self._failures.extend(errors)

    def most_it_can_cost(self, question: Question) -> float:
        """The cost that the script gives."""
        return self._answer(question).cost_usd

    def ask(self, question: Question) -> TeacherAnswer:
        """Answer as scripted, without waiting.

        Raises
        ------
        TeacherUnavailableError: as `fail_next` was told.
        """
        try:
            error = self._failures.popleft()
        except IndexError:
            return self._answer(question)
        raise error

    def close(self) -> None:
        """Nothing is held."""

    def _answer(self, question: Question) -> TeacherAnswer:
        answer = self._script.get(question.ticket_id)
        if answer is None:
            return TeacherAnswer(output=None, abstained="invalid", latency_ms=0.0)
        if answer.output is None or not question.taxonomy or answer.output in question.taxonomy:
            return answer
        return msgspec.structs.replace(answer, output=None, abstained="invalid", probabilities=())


def _as_answer(answer: TeacherAnswer | str) -> TeacherAnswer:
    if isinstance(answer, str):
        return TeacherAnswer(output=answer, latency_ms=0.0)
    return answer


def _recorded(row: RecordedAnswer) -> TeacherAnswer:
    return TeacherAnswer(
        output=row.label,
        abstained="" if row.label is not None else "invalid",
        probabilities=row.probabilities if row.label is not None else (),
        latency_ms=row.latency_ms,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        cost_usd=row.cost_usd,
    )


def _hash_of(script: Mapping[str, TeacherAnswer]) -> str:
    """16 hex digits that differ when any answer does."""
    digest = hashlib.sha256()
    for ticket, answer in sorted(script.items()):
        digest.update(msgspec.json.encode((ticket, answer.output)) + b"\n")
    return digest.hexdigest()[:16]
