"""The teacher on probation: what people's own answers say of the one who marks the student."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from schemas.signals import Interval

#: Only `within` is verified. `out`: its audit alarm has paged. `unsure`: enough answers, and they
#: do not speak for it, or too few of those who were asked answered.
TeacherState = Literal["within", "out", "unsure", "not enough gold", "no tolerance"]


class TeacherStanding(msgspec.Struct, frozen=True, kw_only=True):
    """How one generation of the teacher stands, by tickets that people were drawn to check."""

    #: names what answers: the model, its prompt, and how often it changed without saying so
    generation: str
    name: str
    prompt_hash: str
    #: when it took over, seconds UTC; what it followed, and how that was noticed
    since: float
    #: how often it changed under this name and prompt without saying so
    revision: int = 0
    follows: str = ""
    change: Literal["", "named", "silent"] = ""
    #: the share of wrong answers that is accepted of it; None: nobody has said
    tolerance: float | None = None
    #: tickets drawn for a person, those a person answered, and those that nobody answered in time
    drawn: int = 0
    answered: int = 0
    unanswered: int = 0
    #: answers of people to tickets that were not drawn: they came for a reason, and count nowhere
    volunteered: int = 0
    #: its share of wrong answers in all traffic; None: too few answers to say
    error: Interval | None = None
    state: TeacherState = "not enough gold"
    #: the same in a sentence for people
    reason: str = "nobody has checked its answers yet"

    @property
    def verified(self) -> bool:
        """Whether a student may be promoted on its word without a person looking."""
        return self.state == "within"

    @property
    def next_step(self) -> str:
        """What a person can do so that it is verified; "" when it is."""
        if self.verified:
            return ""
        if self.state == "no tolerance":
            return "write `teacher_tolerance` into the contract and accept it"
        if self.state == "out":
            return "mend its prompt or choose another model: that begins a new generation"
        return "check the tickets of `proctord gold list`"


#: How a teacher stands of which not one label was judged.
UNKNOWN = TeacherStanding(
    generation="", name="", prompt_hash="", since=0.0, reason="the teacher has not been asked yet"
)


def generation_of(name: str, prompt_hash: str, revision: int) -> str:
    """Return the name of a generation of the teacher.

    Parameters
    ----------
    revision: how often it changed without changing its name or prompt.

    >>> generation_of("m", "p", 0) == generation_of("m", "p", 1)
    False
    """
    text = msgspec.json.encode((name, prompt_hash, revision))
    return hashlib.sha256(text).hexdigest()[:16]
