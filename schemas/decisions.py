"""What the retraining policy decided, and why."""

from __future__ import annotations

from typing import Literal

import msgspec

Action = Literal["hold", "retrain", "rollback"]

#: The rule that made a decision. A `hold` names what stands in the way.
Rule = Literal[
    "level",
    "change",
    "cadence",
    "operator",
    "within_bounds",
    "run_active",
    "not_in_force",
    "teacher_out_of_bounds",
    "teacher_unverified",
    "cool_down",
    "too_few_labels",
    "no_champion",
    "probation_breach",
]


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One decision about one lane; journalled when it differs from the last."""

    #: seconds UTC
    at: float
    lane: str
    action: Action
    rule: Rule
    #: a sentence with the figures in it
    reason: str
    figures: dict[str, float] = {}
