"""Every error that proctord raises on purpose: the docstring's first line is what it means.

An error carries its facts as attributes and, where a person can do something, the next step.
`exit_code` is what the command line answers with (sysexits.h: 69 a dependency is down, 75 try
again later, 78 configuration or schema).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar


class ProctordError(Exception):
    """Something that a person has to know: what happened, why, and the next step."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, next_step: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.what}\n  next: {self.next_step}" if self.next_step else self.what

    @property
    def clause(self) -> str:
        """The same as a part of a sentence, for a record that an alert quotes.

        >>> ProctordError("nothing is left to learn from", next_step="wait for labels").clause
        'nothing is left to learn from; next: wait for labels'
        """
        return f"{self.what}; next: {self.next_step}" if self.next_step else self.what


class ConfigError(ProctordError):
    """The configuration cannot be used as it stands."""

    exit_code = 78


class SchemaMismatchError(ProctordError):
    """The journal was written by another version of proctord."""

    exit_code = 78


class DependencyDownError(ProctordError):
    """A broker, database or teacher does not answer."""

    exit_code = 69


class HeldElsewhereError(ProctordError):
    """Another process holds what this one needs."""

    exit_code = 75


class FencedError(ProctordError):
    """The process was replaced as the owner while it was away; what it held is discarded."""


class PositionError(ProctordError):
    """The source cannot go on where the journal left off.

    Attributes
    ----------
    gaps: for each partition that cannot go on: the offset that was wanted (None: the journal
        has none and no start is configured), and the first one that can be read.
    """

    exit_code = 78

    def __init__(
        self,
        what: str,
        *,
        gaps: Mapping[str, tuple[int | None, int]] = MappingProxyType({}),
        next_step: str = "",
    ) -> None:
        super().__init__(what, next_step=next_step)
        self.gaps = gaps


class DecodeError(ProctordError):
    """A message that is not one of ours, with the field at fault and how to mend it.

    Attributes
    ----------
    stage: where it failed: `size`, `encoding`, `json`, `envelope`, `version`, `fields`, or
        `taxonomy` where an answer is none of the task's labels.
    field: path of the field at fault (`$.confidence`), or "" when the whole message is.
    """

    def __init__(self, stage: str, what: str, *, field: str = "", fix: str = "") -> None:
        super().__init__(what, next_step=fix)
        self.stage = stage
        self.field = field

    def __str__(self) -> str:
        where = f"{self.field}: " if self.field else ""
        fix = f"; {self.next_step}" if self.next_step else ""
        return f"{where}{self.what}{fix}"


class TeacherUnavailableError(ProctordError):
    """The teacher gave no answer, through no fault of the ticket.

    Attributes
    ----------
    retryable: whether asking again can help.
    retry_after: seconds that the teacher asked us to wait, or None.
    maybe_billed: whether the call may have cost money although no answer came (a time-out).
    lasting: whether any other ticket would meet the same (a refused key, an unknown model).
    """

    exit_code = 69

    def __init__(
        self,
        what: str,
        *,
        retryable: bool,
        retry_after: float | None = None,
        maybe_billed: bool = False,
        lasting: bool = False,
        next_step: str = "",
    ) -> None:
        super().__init__(what, next_step=next_step)
        self.retryable = retryable
        self.retry_after = retry_after
        self.maybe_billed = maybe_billed
        self.lasting = lasting


class DeliveryError(ProctordError):
    """A notification did not arrive.

    Attributes
    ----------
    retryable: whether sending again can help.
    retry_after: seconds that the receiver asked us to wait, or None.
    """

    def __init__(self, what: str, *, retryable: bool, retry_after: float | None = None) -> None:
        super().__init__(what)
        self.retryable = retryable
        self.retry_after = retry_after


class ConflictError(ProctordError):
    """Somebody else changed the thing first; look again before you decide."""

    exit_code = 75


class NotAllowedError(ProctordError):
    """Somebody else has to decide this, or nobody can."""


class NotFoundError(ProctordError):
    """There is no such thing in the journal."""


class ArtefactError(ProctordError):
    """An artefact's files are not what its manifest says they are."""
