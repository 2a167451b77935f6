"""The alert about what customers ask."""

from __future__ import annotations

from typing import Any

import pytest

from monitor.alerts.rules import conditions
from monitor.alerts.situation import Quality, Situation
from schemas.signals import Interval, Signal

NOW = 1_000_000.0


def signal(detector: str, severity: str, **facts: Any) -> Signal:
    known = {
        "at": NOW,
        "metric": "words",
        "segment": "*",
        "model": "m1",
        "statistic": 9.0,
        "threshold": 8.0,
        "n": 70,
        "interval": None,
        "sentence": "drift of words",
    }
    return Signal(detector=detector, severity=severity, **{**known, **facts})


def situation(**facts: Any) -> Situation:
    return Situation(now=NOW, lane="default", champion="m1", champion_since=1.0, **facts)


def quality(labels: int) -> Quality:
    shares = Interval(0.05, 0.03, 0.07)
    return Quality(segment="*", model="m1", labels=labels, disagreement=shares, tolerance=0.1)


WORDS = signal("drift", "warn")
CLASSES = signal("drift", "warn", at=NOW - 60, metric="classes", sentence="drift of classes")
PAGE = signal("level", "page", metric="disagreement", sentence="disagreement 20 %")


@pytest.mark.parametrize(
    ("prose", "facts", "said"),
    [
        ("it did no harm", {"quality": (quality(500),)}, "has not left its bounds"),
        ("few labels say nothing", {"quality": (quality(99),)}, "harm: 99 of 100"),
        ("no label says nothing", {}, "harm: 0 of 100"),
        ("it did", {"quality": (quality(500),), "signals": (PAGE,)}, "out of bounds as well"),
    ],
)
def test_a_drift_warns_and_says_whether_it_does_harm(
    prose: str, facts: dict[str, Any], said: str
) -> None:
    found = conditions(situation(drifts=(WORDS,), **facts))
    (alert,) = [condition for condition in found if condition.name == "InputsDrifted"]
    assert alert.severity == "warn", prose
    assert said in alert.summary, prose


def test_several_features_that_drift_are_one_alert_with_a_sentence_each() -> None:
    (alert,) = conditions(situation(drifts=(WORDS, CLASSES)))
    assert alert.summary.startswith("drift of classes. drift of words. ")
    assert alert.since == NOW - 60


def test_traffic_as_before_raises_nothing() -> None:
    assert conditions(situation()) == []
