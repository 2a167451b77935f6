"""The rule about what customers ask: it is not as it was."""

from __future__ import annotations

from collections.abc import Iterator

from monitor.alerts.about_students import ENOUGH_LABELS
from monitor.alerts.situation import Situation
from schemas.alerts import Condition


def inputs_drifted(situation: Situation) -> Iterator[Condition]:
    """Features of the traffic drifted and have not come back.

    Never a page: what customers ask may change without harm, and harm pages by itself.
    """
    drifts = sorted(situation.drifts, key=lambda signal: (signal.at, signal.metric))
    if drifts:
        yield Condition(
            name="InputsDrifted",
            severity="warn",
            labels={"lane": situation.lane},
            since=drifts[0].at,
            summary=f"{'. '.join(signal.sentence for signal in drifts)}. {_harm(situation)}",
            proctord_does="Watches the disagreement with the teacher as ever, and pages if this "
            "does harm. Ends this when the traffic looks as before, or has been the new way for "
            "as long as it takes to know it.",
            you_do="By daylight, see what the words and shares above stand for: a new product, a "
            "campaign, an outage. If it will last, a retraining may be due before it is asked for.",
        )


def _harm(situation: Situation) -> str:
    if any(signal.severity == "page" for signal in situation.signals):
        return "The disagreement with the teacher is out of bounds as well"
    labels = sum(q.labels for q in situation.quality if q.segment == "*")
    if labels < ENOUGH_LABELS:
        return f"Not enough labels yet to say whether it does harm: {labels} of {ENOUGH_LABELS}"
    return "The disagreement with the teacher has not left its bounds"
