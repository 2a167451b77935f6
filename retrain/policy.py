"""When the student learns again: a situation and the time in, a decision with its reason out."""

from __future__ import annotations

import msgspec

from schemas.contract import QualityContract
from schemas.decisions import Action, Decision, Rule
from schemas.runs import Run
from schemas.signals import Signal


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A person asks for a retraining now."""

    actor: str
    reason: str


class Probation(msgspec.Struct, frozen=True, kw_only=True):
    """The first labels of a champion that a run promoted; its predecessor stands ready."""

    #: the artefact that served before
    previous: str
    #: random labels of the new champion so far, and how many the probation lasts
    labels: int
    limit: int
    #: the predecessor's mean disagreement over its last random labels; None: it had none
    previous_loss: float | None


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """All that the policy looks at, gathered in one read of the journal."""

    lane: str
    #: the artefact that serves, "" for none, and since when, seconds UTC
    champion: str = ""
    champion_since: float = 0.0
    #: the champion's newest page of the level detector, however old: it was never withdrawn
    level: Signal | None = None
    #: the champion's newest change of disagreement that came after the last run was asked for
    change: Signal | None = None
    live_run: Run | None = None
    #: the run that ended last
    last_run: Run | None = None
    #: when the champion's lane last learned: the last promotion by a run, else `champion_since`
    last_success: float = 0.0
    #: labelled rows since the last run that had a verdict
    new_labels: int = 0
    request: Request | None = None
    #: None: the champion is past its probation, or was not promoted by a run
    probation: Probation | None = None


def decide(situation: Situation, contract: QualityContract, now: float) -> Decision:
    """Choose between holding, retraining and rolling back; the first rule that speaks decides."""
    raise NotImplementedError
