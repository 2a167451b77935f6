"""Shares of one false-alarm probability, and the ranking of segments."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.estimation.weights import Evidence, Weights, rank, share_out, together

segments = st.dictionaries(st.text(max_size=8), st.integers(0, 10**9), max_size=30)


@given(segments, st.lists(st.lists(st.text(max_size=8), max_size=20), max_size=5))
def test_shares_never_add_up_to_more_than_one(
    tickets: dict[str, int], births: list[list[str]]
) -> None:
    weights = share_out(tickets)
    for born in births:
        weights = weights.admit(born)
    assert sum(weights.shares.values()) <= 1 + 1e-12
    assert all(0 < share <= 1 for share in weights.shares.values())


def test_ever_more_newcomers_use_up_a_tenth_and_no_more() -> None:
    known = share_out({"a": 1})
    everybody = known.admit(f"segment {number}" for number in range(3000))
    later = sum(everybody.shares.values()) - sum(known.shares.values())
    assert 0.0999 < later < 0.1


@given(segments, st.lists(st.text(max_size=8), max_size=20))
def test_a_share_once_given_is_never_changed(tickets: dict[str, int], born: list[str]) -> None:
    before = share_out(tickets)
    after = before.admit(born)
    assert {name: after.of(name) for name in before.shares} == before.shares
    assert after.admit(born) == after


def test_order_does_not_matter_and_the_journal_keeps_them_exactly() -> None:
    one = share_out({"a": 3, "b": 500, "*": 900}).admit(["d", "c"])
    other = share_out({"*": 1, "b": 500, "a": 3}).admit({"c": 0, "d": 0})
    assert one == other
    assert msgspec.json.decode(msgspec.json.encode(one), type=Weights) == one


def test_a_segment_with_a_hundredth_of_the_traffic_has_a_tenth_of_the_share() -> None:
    weights = share_out({"large": 10_000, "small": 100})
    assert weights.of("large") == pytest.approx(10 * weights.of("small"))


def test_without_segments_all_traffic_has_what_they_would() -> None:
    assert share_out({}).of("*") == share_out({"*": 50}).of("*") == 0.9
    assert share_out({"quiet": 0}).of("*") == 0.9


def test_a_segment_that_nobody_admitted_has_no_share() -> None:
    with pytest.raises(KeyError):
        share_out({"a": 1}).of("b")


def test_segments_are_ranked_by_evidence_and_those_with_few_labels_come_last() -> None:
    seen = [
        Evidence("few", 30.0, 99),
        Evidence("calm", -1.0, 5000),
        Evidence("bad", 9.0, 300),
        Evidence("worse", 12.0, 100),
    ]
    ranked = rank(seen)
    assert [one.segment for one in ranked] == ["worse", "bad", "calm", "few"]
    assert [one.standing for one in ranked] == [
        "stands out",
        "stands out",
        "does not stand out",
        "not enough labels",
    ]
    assert rank(reversed(seen)) == ranked
    assert rank([]) == []


def test_what_stands_out_depends_on_how_many_were_looked_at() -> None:
    """20 times a segment of one, 400 times one of twenty: e-BH."""
    enough = math.log(20) + 1e-9
    assert rank([Evidence("a", enough, 200)])[0].standing == "stands out"
    others = [Evidence(f"calm {number}", -1.0, 200) for number in range(19)]
    assert rank([Evidence("a", enough, 200), *others])[0].standing == "does not stand out"
    four = [Evidence(f"bad {number}", math.log(100) + 1e-9, 200) for number in range(4)]
    assert [one.standing for one in rank([*four, *others[:16]])].count("stands out") == 4


def test_of_those_that_stand_out_few_are_within_their_tolerance() -> None:
    draw = np.random.default_rng(1)
    shares = []
    for _ in range(400):
        # 1 / uniform^.5 is an e-value: its mean is 2, halved
        null = np.log(0.5 / np.sqrt(draw.random(40)))
        seen = [Evidence(f"null {i}", float(e), 200) for i, e in enumerate(null)]
        seen += [Evidence(f"bad {i}", float(draw.normal(6, 2)), 200) for i in range(10)]
        out = [one.segment for one in rank(seen) if one.standing == "stands out"]
        shares.append(sum(name.startswith("null") for name in out) / max(1, len(out)))
    assert np.mean(shares) <= 0.05


def test_small_harms_everywhere_are_seen_together() -> None:
    seen = [Evidence(str(number), math.log(number + 1.0), 200) for number in range(100)]
    assert together(seen) == pytest.approx(math.log(50.5))
    with pytest.raises(ValueError, match="no evidence"):
        together([])
