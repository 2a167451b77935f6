import functools
import itertools
import random
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pytest

from monitor.drift import (
    Contributor,
    Drift,
    DriftFinding,
    DriftSettings,
    EmbedderSettings,
    explain,
)
from monitor.drift.evidence import POWERS, carry_on, e_value, threshold
from monitor.drift.reading import EMBEDDED, FEATURES, Reading
from monitor.drift.reference import fit, judge
from monitor.drift.topics import EmbeddedSlice
from monitor.features import CONFIDENCE_EDGES, SIZE_EDGES, bucket_of
from schemas.windows import WindowSummary

DAY = 86_400.0
DAILY = DriftSettings(slice_seconds=DAY, reference=60)
EMBEDDING = msgspec.structs.replace(DAILY, embedder=EmbedderSettings(model="somewhere"))
CLASSES = {"refund": 0.30, "delivery": 0.04, "account": 0.36, "fees": 0.20, "rare": 0.10}


def confidence_bin(confidence: float) -> int:
    return int(np.searchsorted(CONFIDENCE_EDGES, confidence, side="right"))


def size_bin(size: float) -> int:
    return int(np.searchsorted(SIZE_EDGES, size, side="right"))


def drawn(rng: np.random.Generator, n: int, shares: Mapping[Any, float]) -> dict[Any, int]:
    names = list(shares)
    weights = np.array([shares[name] for name in names])
    counts = rng.multinomial(n, weights / weights.sum())
    return {name: int(count) for name, count in zip(names, counts, strict=True) if count}


def day(number: int, rng: np.random.Generator, n: int = 200, **changes: Any) -> list[WindowSummary]:
    """A day of traffic, all features of it, with other shares where they are named."""
    mix = {"channel=mail": 0.6, "channel=app": 0.4, **changes.pop("segments", {})}
    shares = {
        "classes": CLASSES,
        "confidence_bins": {confidence_bin(c): 1 / 8 for c in np.linspace(0.3, 0.99, 8)},
        "latency_bins": {size_bin(ms): 1 / 5 for ms in (10, 15, 20, 30, 60)},
        "text_length_bins": {size_bin(n): 1 / 5 for n in (40, 80, 120, 200, 300)},
        **changes,
    }
    counts: dict[str, Any] = {name: drawn(rng, n, cells) for name, cells in shares.items()}
    words = drawn(rng, 20 * n, dict.fromkeys(range(256), 1 / 256) | changes.get("words", {}))
    at: dict[str, Any] = {"start": number * DAY, "length": DAY}
    total = WindowSummary(segment="*", pairs=n, **at, **{**counts, "words": words})
    return [
        total,
        *(WindowSummary(segment=s, pairs=k, **at) for s, k in drawn(rng, n, mix).items()),
    ]


@functools.cache
def clean(days: int) -> list[WindowSummary]:
    return stream(1, days)


def stream(seed: int, days: int, first: int = 0, **changes: Any) -> list[WindowSummary]:
    rng = np.random.default_rng(seed)
    return [w for number in range(first, first + days) for w in day(number, rng, **changes)]


# --- evidence ------------------------------------------------------------------------------


def test_an_e_value_is_a_fair_bet() -> None:
    # over p in (0, 1) each power integrates to 1; below 1e-9 the bet is cut, never raised
    p = np.logspace(-9, 0, 10_001)
    values = np.array([e_value(x) for x in p])
    mean = float(np.trapezoid(values, p))
    cut = sum(1e-9**power for power in POWERS) / len(POWERS)
    assert mean == pytest.approx(1 - cut, abs=1e-4)
    assert e_value(0.0) == e_value(1e-12) < 1e9


def test_the_evidence_of_clean_slices_keeps_its_promise_on_false_alarms() -> None:
    rng, waits = random.Random(5), []
    for _ in range(300):
        evidence, waited = 0.0, 0
        while evidence < 20.0:
            evidence, waited = carry_on(evidence, rng.random()), waited + 1
        waits.append(waited)
    assert np.mean(waits) > 20.0  # the bound; it is not tight


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # one a year, of one watcher: as many days as a year has
        ({"per_year": 1.0, "slice_seconds": DAY, "slices": 1, "watchers": 1}, 365.25),
        # a week is a seventh of the chances
        ({"per_year": 1.0, "slice_seconds": DAY, "slices": 7, "watchers": 1}, 365.25 / 7),
        # twelve share the budget, which is four a year
        ({"per_year": 4.0, "slice_seconds": DAY, "slices": 1, "watchers": 12}, 3 * 365.25),
    ],
)
def test_the_budget_sets_the_threshold(given: dict[str, Any], expected: Any) -> None:
    assert threshold(**given) == pytest.approx(expected)


# --- reference -----------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 7])
def test_p_values_of_clean_blocks_are_not_too_small(block: int) -> None:
    rng = np.random.default_rng(2)
    ps = []
    for _ in range(6):
        clean = [Reading(200, drawn(rng, 200, CLASSES)) for _ in range(60)]
        reference = fit(clean, block, ordered=False, slack=0.0)
        n = 200 * block
        ps += [judge(reference, Reading(n, drawn(rng, n, CLASSES))).p for _ in range(50)]
    # nominal .05 and .01; a reference of 60 is an estimate, and five standard errors are allowed
    assert np.mean(np.array(ps) < 0.05) < 0.11
    assert np.mean(np.array(ps) < 0.01) < 0.04


def test_traffic_that_varies_from_day_to_day_is_judged_by_how_much_it_varies() -> None:
    rng = np.random.default_rng(3)

    def wobbly() -> Reading:
        refund = float(np.clip(rng.normal(0.3, 0.08), 0.05, 0.6))
        return Reading(2000, drawn(rng, 2000, {"refund": refund, "fees": 1 - refund}))

    wild = [wobbly() for _ in range(60)]
    steady = [Reading(2000, drawn(rng, 2000, {"refund": 0.3, "fees": 0.7})) for _ in range(60)]
    moved = Reading(2000, drawn(rng, 2000, {"refund": 0.43, "fees": 0.57}))
    week = Reading(7 * 2000, drawn(rng, 7 * 2000, {"refund": 0.43, "fees": 0.57}))
    assert judge(fit(wild, 1, ordered=False, slack=0.0), moved).p > 0.05
    assert judge(fit(steady, 1, ordered=False, slack=0.0), moved).p < 1e-6
    # a week of it is no chance: days that vary for themselves even out
    assert judge(fit(wild, 7, ordered=False, slack=0.0), week).p < 0.02


def test_a_slice_of_few_is_judged_by_its_own_noise() -> None:
    rng = np.random.default_rng(7)
    large = [Reading(5000, drawn(rng, 5000, CLASSES)) for _ in range(60)]
    reference = fit(large, 1, ordered=False, slack=0.0)
    ps = [judge(reference, Reading(100, drawn(rng, 100, CLASSES))).p for _ in range(200)]
    # nominal .05; a noise taken for too small or too large would make it .5 or 0
    assert 0.005 < np.mean(np.array(ps) < 0.05) < 0.12


def test_slack_makes_a_small_lasting_move_no_news() -> None:
    rng = np.random.default_rng(4)
    clean = [Reading(20_000, drawn(rng, 20_000, {"a": 0.10, "b": 0.90})) for _ in range(60)]
    moved = Reading(20_000, {"a": 2300, "b": 17_700})
    assert judge(fit(clean, 1, ordered=False, slack=0.0), moved).p < 1e-6
    assert judge(fit(clean, 1, ordered=False, slack=0.3), moved).p > 0.05


def test_bins_are_put_together_to_groups_of_equal_shares() -> None:
    clean = [Reading(400, {str(i): 4 for i in range(100)}) for _ in range(60)]
    reference = fit(clean, 1, ordered=True, slack=0.0)
    assert [len(cells) for cells in reference.groups] == [5] * 20 + [0]


def test_a_class_that_was_never_there_counts_among_all_others() -> None:
    rng = np.random.default_rng(6)
    clean = [Reading(200, drawn(rng, 200, {"a": 0.6, "b": 0.4})) for _ in range(60)]
    judged = judge(
        fit(clean, 1, ordered=False, slack=0.3), Reading(200, {"a": 100, "b": 70, "new": 30})
    )
    assert judged.p < 1e-4
    assert int(np.abs(judged.scores).argmax()) == 2
    assert judged.shares[2] == pytest.approx(0.15)


# --- detector ------------------------------------------------------------------------------


def test_clean_days_of_a_year_stay_within_the_budget() -> None:
    # at a budget of one a year; slack leaves none of these
    assert len(Drift(DAILY).update(stream(11, 426), model="m1")) <= 1


def test_what_never_varies_is_no_drift() -> None:
    # no segments, one class, and as many tickets as the hour brings
    rng = np.random.default_rng(13)
    for sizes in (rng.integers(30, 600, size=1000), np.full(1000, 400)):
        days = [
            WindowSummary(
                segment="*", start=n * DAY, length=DAY, pairs=int(size), classes={"a": int(size)}
            )
            for n, size in enumerate(sizes)
        ]
        assert Drift(DAILY).update(days, model="m1") == []


def block(found: DriftFinding, features: int) -> float:
    """How long the block is whose threshold a finding had, where so many features are watched."""
    lengths = {features * 2 * 365.25 / days: days * DAY for days in (1, 7)}
    return lengths[found.threshold]


MOVES = [
    # what customers want
    ("classes", {"classes": {**CLASSES, "delivery": 0.16}}, "`delivery` "),
    # how sure the student is
    ("confidence", {"confidence_bins": {confidence_bin(0.3): 0.5, confidence_bin(0.99): 0.5}}, " "),
    # how fast it answers
    ("latency_ms", {"latency_bins": {size_bin(60): 0.6, size_bin(10): 0.4}}, " ms "),
    # how much they write
    ("text_length", {"text_length_bins": {size_bin(40): 0.7, size_bin(300): 0.3}}, "characters"),
    # what they write about
    ("words", {"words": {7: 0.02, 99: 0.02}}, "other words"),
    # where they write
    ("segments", {"segments": {"channel=mail": 0.3, "channel=app": 0.7}}, "`channel=mail` "),
]


@pytest.mark.parametrize(("feature", "changes", "said"), MOVES, ids=[m[0] for m in MOVES])
def test_a_feature_that_moves_is_told_once_within_a_week_and_no_other(
    feature: str, changes: dict[str, Any], said: str
) -> None:
    drift = Drift(DAILY)
    assert drift.update(clean(90), model="m1") == []
    (found,) = drift.update(stream(2, 14, first=90, **changes), model="m1")
    assert (found.feature, found.severity) == (feature, "warn")
    assert 90 * DAY <= found.since < found.at <= 97 * DAY
    assert found.at - found.since == block(found, features=6)
    assert said in found.sentence
    assert found.statistic >= found.threshold
    assert drift.drifted == (feature,)


#: what sampled tickets are about: shares of cells in clean slices
CELLS: Mapping[str, Mapping[Any, float]] = {
    "topics": {"0": 0.6, "1": 0.3, "2": 0.1},
    "novelty": {"0": 0.5, "1": 0.25, "2": 0.15, "3": 0.1},
}
TOPICS = {"0": "tickets like “lost card”", "1": "tickets like “fees”", "2": "tickets like “pin”"}
EMBEDDED_MOVES = [
    ("topics", {"0": 0.45, "1": 0.3, "2": 0.25}, "tickets like “pin” "),
    ("novelty", {"0": 0.3, "1": 0.25, "2": 0.15, "3": 0.3}, "tickets unlike any before "),
]


def embedded(
    seed: int, days: int, first: int = 0, *, n: int = 100, topic_map: str = "m", **changes: Any
) -> list[EmbeddedSlice]:
    rng = np.random.default_rng(seed)
    return [
        EmbeddedSlice(
            start=number * DAY,
            topic_map=topic_map,
            readings={
                name: Reading(n, drawn(rng, n, changes.get(name, shares)))
                for name, shares in CELLS.items()
            },
        )
        for number in range(first, first + days)
    ]


def test_every_feature_has_a_move_that_is_tested() -> None:
    assert {feature for feature, _, _ in [*MOVES, *EMBEDDED_MOVES]} == set(FEATURES)


@pytest.mark.parametrize(
    ("feature", "shares", "said"), EMBEDDED_MOVES, ids=[m[0] for m in EMBEDDED_MOVES]
)
def test_what_tickets_are_about_is_told_by_example_when_it_moves(
    feature: str, shares: Mapping[str, float], said: str
) -> None:
    drift = Drift(EMBEDDING)
    assert drift.read(embedded(1, 80), TOPICS) == []
    (found,) = drift.read(embedded(2, 10, first=80, **{feature: shares}), TOPICS)
    assert (found.feature, found.severity) == (feature, "warn")
    assert 80 * DAY <= found.since < found.at <= 87 * DAY
    assert found.at - found.since == block(found, features=8)
    assert found.sentence.startswith(f"drift of {feature}: {said}")
    assert "against 6,000 sampled before" in found.sentence
    assert drift.drifted == (feature,)


def test_what_creeps_is_told_since_the_beginning_of_its_week() -> None:
    drift = Drift(EMBEDDING)
    drift.read(embedded(1, 80, n=60), TOPICS)
    creeping = {"0": 0.48, "1": 0.3, "2": 0.22}
    (found,) = drift.read(embedded(2, 49, first=80, n=60, topics=creeping), TOPICS)
    assert found.at - found.since == block(found, features=8) == 7 * DAY


def test_slices_of_few_texts_are_put_together_until_they_say_something() -> None:
    drift = Drift(EMBEDDING)
    assert drift.read(embedded(1, 4 * 60, n=5), TOPICS) == []
    assert "topics" not in drift.learning
    moved = {"topics": {"0": 0.1, "1": 0.1, "2": 0.8}}
    found, *_ = drift.read(embedded(2, 4 * 8, first=4 * 60, n=5, **moved), TOPICS)
    # twenty texts are four days of them
    assert (found.at - found.since) / DAY in {4.0, 28.0}
    assert found.since >= 4 * 60 * DAY


def test_with_another_map_what_tickets_are_about_begins_anew_and_all_else_goes_on() -> None:
    drift = Drift(EMBEDDING)
    drift.update(clean(70), model="m1")
    drift.read(embedded(1, 70), TOPICS)
    assert drift.learning == {}
    drift.read(embedded(2, 20, topic_map="n"), TOPICS)
    assert drift.learning == {"topics": 40, "novelty": 40}
    assert drift.embedded_until == 20 * DAY


def test_reading_texts_late_and_in_pieces_changes_nothing() -> None:
    slices = embedded(1, 130, n=15) + embedded(2, 16, first=130, n=15, topics={"2": 1.0})
    whole, pieces = Drift(EMBEDDING), Drift(EMBEDDING)
    expected = whole.read(slices, TOPICS)
    found = []
    for one in slices:
        found += pieces.read([one], TOPICS)
        pieces = Drift.restore(EMBEDDING, pieces.state())
    assert found == expected != []
    assert same_state(pieces, whole)


def test_without_an_embedder_nothing_of_it_is_watched_and_the_budget_is_the_others() -> None:
    assert set(Drift(DAILY).learning) == set(FEATURES) - set(EMBEDDED)
    drift = Drift(EMBEDDING)
    drift.update(clean(70), model="m1")
    drift.read(embedded(1, 70), TOPICS)
    # switched off, and later on again: what the others learned is kept
    without = Drift.restore(DAILY, drift.state())
    assert without.learning == {}
    assert Drift.restore(EMBEDDING, without.state()).learning == {}


def test_what_moved_most_is_named_with_its_shares() -> None:
    drift = Drift(DAILY)
    drift.update(clean(90), model="m1")
    (found,) = drift.update(
        stream(2, 10, first=90, classes={**CLASSES, "delivery": 0.16}), model="m1"
    )
    first = found.contributors[0]
    assert (first.cells, first.name) == (("delivery",), "`delivery`")
    assert first.before == pytest.approx(0.04, abs=0.01)
    assert first.now == pytest.approx(0.14, abs=0.05)
    assert first.score > 3


@pytest.mark.parametrize("seed", [1, 2])
def test_a_restart_anywhere_and_shuffled_partitions_change_nothing(seed: int) -> None:
    windows = stream(8, 70) + stream(9, 12, first=70, classes={**CLASSES, "delivery": 0.2})
    rng = random.Random(seed)
    whole, pieces = Drift(DAILY), Drift(DAILY)
    expected = whole.update(windows, model="m1")
    found = []
    for window in windows:
        # half of the window's pairs each, as two shards saw them, in any order
        parts = [halved(window, 0), halved(window, 1)]
        rng.shuffle(parts)
        found += pieces.update([parts[0].merge(parts[1])], model="m1")
        if rng.random() < 0.1:
            pieces = Drift.restore(DAILY, pieces.state())
    assert found == expected != []
    assert same_state(pieces, whole)


def same_state(one: Drift, two: Drift) -> bool:
    """Whether two states are equal to the bit but for the order of the cells' names."""
    return bool(msgspec.json.decode(one.state()) == msgspec.json.decode(two.state()))


def halved(window: WindowSummary, side: int) -> WindowSummary:
    def half(counts: Mapping[Any, int]) -> dict[Any, int]:
        return {k: n // 2 + (n % 2 and side) for k, n in counts.items() if n > 1 or side}

    fields = ("classes", "confidence_bins", "latency_bins", "text_length_bins", "words")
    return msgspec.structs.replace(
        window,
        pairs=window.pairs // 2 + (window.pairs % 2 and side),
        **{name: half(getattr(window, name)) for name in fields},
    )


def test_windows_shorter_than_a_slice_add_up_to_it() -> None:
    windows = stream(8, 75)
    short = [
        msgspec.structs.replace(halved(w, side), start=w.start + side * DAY / 2, length=DAY / 2)
        for _, of_day in itertools.groupby(windows, key=lambda w: w.start)
        for whole in [list(of_day)]
        for side in (0, 1)
        for w in whole
    ]
    long, together = Drift(DAILY), Drift(DAILY)
    long.update(windows, model="m1")
    together.update(short, model="m1")
    assert same_state(together, long)


def test_a_new_student_begins_anew_and_the_traffic_goes_on() -> None:
    drift = Drift(DAILY)
    drift.update(clean(70), model="m1")
    assert drift.learning == {}
    other = {"classes": {"refund": 0.9, "fees": 0.1}}
    assert drift.update(stream(2, 20, first=70, **other), model="m2") == []
    assert set(drift.learning) == {"classes", "confidence", "latency_ms"}
    # the day in which it came belongs to neither, and the last one is still open
    assert drift.learning["classes"] == 60 - 19


def test_a_state_of_other_settings_belongs_to_another_time() -> None:
    drift = Drift(DAILY)
    drift.update(clean(10), model="m1")
    changed = msgspec.structs.replace(DAILY, slack=0.1)
    assert Drift.restore(changed, drift.state()).learning["words"] == 60
    assert Drift.restore(DAILY, drift.state()).learning["words"] == 60 - 9


def test_a_feature_is_watched_again_when_the_drift_is_over() -> None:
    drift = Drift(DAILY)
    moved = {"classes": {**CLASSES, "delivery": 0.2}}
    drift.update(clean(80), model="m1")
    assert len(drift.update(stream(2, 5, first=80, **moved), model="m1")) == 1
    drift.update(stream(3, 30, first=85), model="m1")
    assert drift.drifted == ()


def test_what_lasts_becomes_the_reference() -> None:
    drift = Drift(DAILY)
    moved = {"classes": {**CLASSES, "delivery": 0.2}}
    drift.update(clean(80), model="m1")
    assert len(drift.update(stream(2, 120, first=80, **moved), model="m1")) == 1
    assert drift.drifted == ()
    back = drift.update(stream(3, 10, first=200), model="m1")
    assert [found.feature for found in back] == ["classes"]


def test_quiet_slices_say_nothing_and_late_windows_are_counted() -> None:
    drift = Drift(DAILY)
    drift.update(stream(1, 5, n=10), model="m1")
    assert drift.learning["classes"] == 60
    drift.update(stream(1, 1, first=2), model="m1")
    assert drift.late > 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"reference": 20}, "reference is 20"),
        ({"slice_seconds": 0.0}, "slice_seconds is 0.0"),
        ({"false_alarms_per_year": float("nan")}, "false_alarms_per_year is nan"),
        ({"slack": 1.0}, "slack is 1.0"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DriftSettings(**wrong)


def test_the_hours_and_days_of_a_week_are_no_drift() -> None:
    rng = np.random.default_rng(12)
    drift = Drift(DriftSettings())
    found = []
    for hour in range(24 * 7 * 6):
        night, weekend = hour % 24 < 7, hour // 24 % 7 >= 5
        shares = {**CLASSES, "refund": 0.15 if night else 0.3, "fees": 0.1 if weekend else 0.2}
        n = 60 if night else 300
        window = WindowSummary(
            segment="*", start=hour * 3600.0, length=3600.0, classes=drawn(rng, n, shares)
        )
        found += drift.update([window], model="m1")
    assert found == []


# --- words ---------------------------------------------------------------------------------


def finding(feature: str, *cells: str) -> DriftFinding:
    moved = tuple(Contributor((cell,), cell, 0.01, 0.02, 5.0) for cell in cells)
    return DriftFinding(
        severity="warn",
        statistic=9.0,
        threshold=8.0,
        n=70,
        interval=None,
        sentence="drift",
        feature=feature,
        at=DAY,
        since=0.0,
        contributors=moved,
    )


BEFORE = ["my bookmarks are lost", "where are my tabs"] * 20
NOW = ["how do i undo the proton redesign", "where are my tabs"] * 20


@pytest.mark.parametrize(
    ("found", "before", "now", "expected"),
    [
        # of a drift of words, only words of the groups that moved
        (
            finding("words", str(bucket_of("proton")), str(bucket_of("tabs"))),
            BEFORE,
            NOW,
            "drift; new words: proton",
        ),
        # of another feature, the words that moved most, either way
        (
            finding("classes"),
            BEFORE,
            NOW,
            "drift; new words: do, how, i, proton, redesign; fewer: are, bookmarks, lost, my",
        ),
        # a word of one or two texts proves nothing
        (finding("classes"), ["tabs"] * 9, ["tabs"] * 9 + ["proton"] * 2, "drift"),
        # no texts were sampled
        (finding("classes"), [], [], "drift"),
    ],
)
def test_a_finding_is_explained_by_the_words_of_sampled_texts(
    found: DriftFinding, before: list[str], now: list[str], expected: Any
) -> None:
    assert explain(found, before, now) == expected
