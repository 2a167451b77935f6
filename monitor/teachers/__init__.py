"""The teacher: the model whose answers the student was distilled from."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What the teacher is asked about one ticket. The text is redacted."""

    ticket_id: str
    text: str
    #: the labels to choose from; empty: answer in free text
    taxonomy: tuple[str, ...] = ()


class TeacherAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the teacher said, and what it cost."""

    #: a label of the taxonomy, or a text; None: it abstained
    output: str | None
    #: `invalid`, `refused` or `truncated`; "" when there is an output
    abstained: str = ""
    #: (label, probability), most probable first; may be cut off, may be empty
    probabilities: tuple[tuple[str, float], ...] = ()
    latency_ms: float
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0


class Teacher(Protocol):
    """Answers one question at a time; may be called from several threads."""

    #: the model, and the hash of the prompt it is given: together they name what answered
    name: str
    prompt_hash: str

    def most_it_can_cost(self, question: Question) -> float:
        """Return the dollars to set aside before asking: never less than the call will cost."""

    def ask(self, question: Question) -> TeacherAnswer:
        """Ask once.

        Raises
        ------
        TeacherUnavailableError: no answer came; says whether asking again can help.
        """

    def close(self) -> None:
        """Let go of connections."""
