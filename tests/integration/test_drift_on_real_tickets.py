"""Two and a half years of real tickets: what happened is told, and nothing else is when shuffled.

`tests/bench/bench_drift.py` does it for all years, with its peers.
"""

from __future__ import annotations

import datetime as dt
import os
from collections import Counter
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from monitor.drift import DriftFinding, explain

UNTIL = dt.date(2021, 7, 1)

pytestmark = pytest.mark.skipif(
    "PROCTORD_DATA" not in os.environ, reason="PROCTORD_DATA names no folder of real tickets"
)


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    from tests.bench import bench_drift

    return bench_drift


@pytest.fixture(scope="module")
def asked(bench: ModuleType) -> list[Any]:
    return bench.answered([ticket for ticket in bench.tickets() if ticket.day < UNTIL])


def watched(bench: ModuleType, asked: list[Any], order: np.ndarray) -> list[DriftFinding]:
    stream = [(day, bench.windows(day, some)) for day, some in bench.days(asked, order)]
    return bench.watch(stream, bench.DEFAULT)


def test_what_happened_to_firefox_is_told_within_a_day_or_two_and_little_else(
    bench: ModuleType, asked: list[Any]
) -> None:
    found = watched(bench, asked, np.arange(len(asked)))
    certificate, proton = (
        bench.near(found, bench.EVENTS[name]) for name in ("add-on certificate", "Proton redesign")
    )
    assert certificate[0] == (0, "words")
    assert proton[0][0] <= 2
    # at most two a year of the most talkative feature
    assert max(Counter(finding.feature for finding in found).values()) <= 5
    day = bench.EVENTS["add-on certificate"]
    before = [ticket.text for ticket in asked if ticket.day < day][-400:]
    now = [ticket.text for ticket in asked if ticket.day == day]
    (told, *_) = [f for f in found if f.feature == "words" and bench.told_on(f) == day]
    assert "addons" in explain(told, before, now)


def test_the_same_tickets_in_a_shuffled_order_raise_at_most_one_alarm_a_year(
    bench: ModuleType, asked: list[Any]
) -> None:
    order = np.random.default_rng(0).permutation(len(asked))
    assert len(watched(bench, asked, order)) <= 2
