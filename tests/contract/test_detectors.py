"""What every detector promises: a new kind is tested because it is in DETECTORS."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.detectors import DETECTORS, SECOND_OPINIONS, Detector, Finding, make, restore
from monitor.estimation.scores import plain
from schemas.errors import ConfigError

#: settings that each kind is tried with; a kind without an entry fails
SETTINGS: dict[str, dict[str, Any]] = {
    "level": {"tolerance": 0.1},
    "change": {"slack": 0.1},
    "adwin": {"warm_up": 0, "memory": 300},
    "page_hinkley": {"warm_up": 60, "memory": 300, "threshold": 20},
}

#: kinds that take the scores of windows; the others take numbers
OF_SCORES = {"level", "change"}

GOOD, BAD = 0.05, 0.4

kinds = pytest.mark.parametrize("kind", DETECTORS)


def losses(rate: float, n: int, seed: int) -> list[float]:
    draw = random.Random(seed)
    return [float(draw.random() < rate) for _ in range(n)]


def begin(kind: str) -> Detector:
    return make(kind, SETTINGS[kind])


def shaped(detector: Detector, values: list[float]) -> list[Any]:
    """Numbers as this kind takes them: for scores, each a window of one label."""
    if detector.kind not in OF_SCORES:
        return list(values)
    return [plain([value], at=float(second)) for second, value in enumerate(values)]


def feed(detector: Detector, values: list[float]) -> list[Finding]:
    """One by one, so that no finding stands for another."""
    return [found for value in shaped(detector, values) if (found := detector.update([value]))]


#: a stream that every kind finds something in, after the histories were cut at least once
CALM = 2200
EVENTFUL = losses(GOOD, CALM, seed=1) + losses(BAD, 300, seed=2)


@kinds
def test_a_detector_finds_a_gross_change_and_says_so_with_figures(kind: str) -> None:
    detector = begin(kind)
    assert feed(detector, EVENTFUL[:CALM]) == []
    found = feed(detector, EVENTFUL[CALM:])
    assert found
    assert CALM < found[0].n < CALM + 150
    for finding in found:
        assert finding.statistic >= finding.threshold
        assert any(character.isdigit() for character in finding.sentence)


@kinds
def test_only_level_pages(kind: str) -> None:
    severities = {finding.severity for finding in feed(begin(kind), EVENTFUL)}
    expected = {"level": {"warn", "page"}, "change": {"warn"}}
    assert severities == expected.get(kind, {"info"})


@kinds
def test_a_finding_is_told_once(kind: str) -> None:
    found = feed(begin(kind), EVENTFUL + losses(BAD, 400, seed=3))
    by_severity = [finding.severity for finding in found]
    assert len(by_severity) == len(set(by_severity))


@kinds
def test_values_that_are_not_finite_change_nothing_but_their_count(kind: str) -> None:
    poison = [math.nan, math.inf, -math.inf]
    clean, poisoned = begin(kind), begin(kind)
    poisoned.update(shaped(poisoned, poison))
    expected = feed(clean, EVENTFUL)
    found = []
    for value in EVENTFUL:
        found += feed(poisoned, [value, *poison])
    assert found == expected
    assert poisoned.n == clean.n == len(EVENTFUL)
    assert poisoned.skipped == 3 * (len(EVENTFUL) + 1)
    assert clean.skipped == 0


@kinds
@settings(max_examples=6, deadline=None)
@given(cuts=st.lists(st.integers(0, len(EVENTFUL)), min_size=1, max_size=4))
def test_a_restart_anywhere_changes_neither_findings_nor_state(kind: str, cuts: list[int]) -> None:
    steady, restarted = begin(kind), begin(kind)
    expected = feed(steady, EVENTFUL)
    found, start = [], 0
    for cut in [*sorted(cuts), len(EVENTFUL)]:
        found += feed(restarted, EVENTFUL[start:cut])
        restarted = restore(kind, SETTINGS[kind], restarted.state())
        start = cut
    assert found == expected
    assert restarted.state() == steady.state()
    assert restarted.latched == steady.latched


@kinds
def test_how_values_are_batched_does_not_matter_to_the_state(kind: str) -> None:
    one_by_one, at_once = begin(kind), begin(kind)
    found = feed(one_by_one, EVENTFUL)
    gravest = at_once.update(shaped(at_once, EVENTFUL))
    assert gravest == found[-1]
    assert at_once.state() == one_by_one.state()


@kinds
def test_no_values_are_no_news(kind: str) -> None:
    detector = begin(kind)
    before = detector.state()
    assert detector.update([]) is None
    assert detector.state() == before
    assert detector.n == 0


@kinds
def test_a_state_is_plain_json_and_bounded(kind: str) -> None:
    detector = begin(kind)
    sizes = []
    for seed in range(4):
        feed(detector, losses(GOOD, 2000, seed))
        json.loads(detector.state())
        sizes.append(len(detector.state()))
    assert max(sizes) < (300 if kind in OF_SCORES else 4000)


@kinds
def test_a_state_made_under_other_settings_begins_anew(kind: str) -> None:
    changed = {
        "level": {"tolerance": 0.2},
        "change": {"slack": 0.3},
        "adwin": SETTINGS["adwin"] | {"delta": 0.01},
        "page_hinkley": SETTINGS["page_hinkley"] | {"allowance": 0.2},
    }[kind]
    detector = begin(kind)
    feed(detector, EVENTFUL)
    assert restore(kind, changed, detector.state()).state() == make(kind, changed).state()


@kinds
def test_a_state_that_is_none_is_refused(kind: str) -> None:
    for state in (b"", b"{}", b"null", b"\x80\x04pickle"):
        with pytest.raises(msgspec.DecodeError):
            restore(kind, SETTINGS[kind], state)


@kinds
def test_a_setting_that_does_not_exist_is_refused_by_name(kind: str) -> None:
    with pytest.raises(ConfigError, match="tolerrance"):
        make(kind, SETTINGS[kind] | {"tolerrance": 0.1})


def test_a_kind_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ConfigError, match="choose one of: level, change, adwin, page_hinkley"):
        make("oracle", {})


def test_second_opinions_can_be_made_and_watch_what_is_watched() -> None:
    for metric, opinions in SECOND_OPINIONS.items():
        for kind, options in opinions.items():
            assert make(kind, options).n == 0, metric


@pytest.mark.parametrize("kind", ["adwin", "page_hinkley"])
def test_a_second_opinion_learns_the_units_of_its_stream(kind: str) -> None:
    draw = random.Random(4)
    quiet = [draw.gauss(800, 40) for _ in range(400)]
    slow = [draw.gauss(1000, 40) for _ in range(100)]
    detector = make(kind, {})
    assert feed(detector, quiet) == []
    # one time-out of a minute is an outlier, not a change
    assert feed(detector, [60_000.0]) == []
    found = feed(detector, slow)
    assert len(found) == 1
    assert "from 8" in found[0].sentence


@pytest.mark.parametrize("kind", ["adwin", "page_hinkley"])
def test_a_stream_that_never_moved_has_no_units_yet(kind: str) -> None:
    detector = make(kind, {"warm_up": 50})
    assert feed(detector, [3.0] * 500) == []
    assert len(detector.state()) < 600
    # the first value that differs shows the units; alone it is no change
    assert feed(detector, [4.0, *[3.0] * 300]) == []


@pytest.mark.parametrize("kind", ["adwin", "page_hinkley"])
def test_a_student_that_people_correct_more_often_gets_a_second_opinion(kind: str) -> None:
    draw = random.Random(6)
    right = [float(draw.random() < 0.9) for _ in range(1500)]
    worse = [float(draw.random() < 0.6) for _ in range(300)]
    detector = make(kind, SECOND_OPINIONS["gold"][kind])
    assert feed(detector, right) == []
    (found, *_) = feed(detector, worse)
    assert (found.severity, found.n > 1500) == ("info", True)
    assert found.sentence.startswith("the mean moved from 0.898")
