"""The labels that a task knows, and what somebody wrote in place of one."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Final

import msgspec

from monitor.comparators.label import canonical_label
from monitor.redaction import redact
from schemas.errors import DecodeError
from schemas.events import Feedback

#: `DecodeError.stage` of a person's answer that is none of the task's labels
STAGE: Final = "taxonomy"
#: characters of such an answer that its dead letter repeats
_SHOWN: Final = 60


def spelling(label: str, taxonomy: Sequence[str]) -> str | None:
    """Return the label as the taxonomy spells it; None when it is not there, or is there twice.

    >>> spelling("Lost-Card", ("lost_card", "refund")), spelling("lost", ("lost_card",))
    ('lost_card', None)
    """
    if label in taxonomy:
        return label
    wanted = canonical_label(label)
    found = [known for known in taxonomy if canonical_label(known) == wanted]
    return found[0] if len(found) == 1 else None


def known_answer(event: Feedback, taxonomy: Sequence[str]) -> Feedback:
    """Return a person's answer as the taxonomy spells it.

    A slip of the pen is no evidence that teacher or student was wrong, hence it is no answer.
    What confirms production's answer, and any text where the task has no taxonomy, is taken as
    it is.

    Raises
    ------
    DecodeError: the answer is none of the labels; its text names the label that is nearest, and
        holds what was written, redacted and cut.

    >>> import datetime as dt
    >>> slip = Feedback(ticket_id="t1", at=dt.datetime.now(dt.UTC), accepted=False, output="refnd")
    >>> known_answer(slip, ("refund", "tracking"))
    Traceback (most recent call last):
    schemas.errors.DecodeError: $.output: 'refnd' is none of the task's labels; did you mean 'refund'?
    """
    if event.accepted or event.output is None or not taxonomy:
        return event
    label = spelling(event.output, taxonomy)
    if label is None:
        raise DecodeError(
            STAGE,
            f"{redact(event.output)[:_SHOWN]!r} is none of the task's labels",
            field="$.output",
            fix=_advice(event.output, taxonomy),
        )
    return msgspec.structs.replace(event, output=label)


def _advice(written: str, taxonomy: Sequence[str]) -> str:
    names = {canonical_label(label): label for label in taxonomy}
    near = difflib.get_close_matches(canonical_label(written), names, n=1)
    if near:
        return f"did you mean {names[near[0]]!r}?"
    return "send one of `[task].labels`, or add it there"
