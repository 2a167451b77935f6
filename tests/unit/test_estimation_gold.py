"""Errors by people's answers: unbiased however tickets were drawn, with bounds that hold."""

from __future__ import annotations

import math

import numpy as np
import pytest

from monitor.detectors.level import Level, LevelSettings
from monitor.estimation.gold import (
    MIN_GOLD,
    Agreement,
    Checked,
    Mean,
    audit_score,
    bounds,
    mean_loss,
)
from monitor.gold import GoldSettings, gold_probability

#: tickets of one simulated stream
TICKETS = 3000


class World:
    """One stream: who is right, who was asked, who was checked."""

    def __init__(self, rng: np.random.Generator, *, active: bool, response: float = 1.0) -> None:
        risk = rng.beta(0.5, 5.0, TICKETS)
        disagrees = rng.random(TICKETS) < risk
        # both are wrong together more often where the student is unsure
        both_wrong = ~disagrees & (rng.random(TICKETS) < 0.3 * risk)
        teacher_alone = disagrees & (rng.random(TICKETS) < 0.2)
        self.student = np.where(disagrees, ~teacher_alone, both_wrong) * 1.0
        self.teacher = (teacher_alone | both_wrong) * 1.0
        spread = np.sqrt(risk * (1 - risk))
        pi = 0.3 * (0.5 + 0.5 * spread / spread.mean()) if active else np.full(TICKETS, 0.3)
        asked = np.flatnonzero(rng.random(TICKETS) < pi)
        rho = np.minimum(1.0, 0.4 * (1 + 3 * disagrees))
        # whoever is asked about a disagreement answers more readily
        answers = rng.random(TICKETS) < response * np.where(disagrees, 1.0, 0.7)
        shown = asked[(rng.random(TICKETS) < rho)[asked]]
        self.checked = [
            Checked(1 / (pi[i] * rho[i]), disagrees[i] * 1.0, self.student[i], self.teacher[i])
            for i in shown
            if response >= 1 or answers[i]
        ]
        self.labels = Agreement.of((disagrees[i] * 1.0, pi[i]) for i in asked)

    def of(self, who: str) -> Mean:
        return mean_loss(self.checked, [getattr(row, who) for row in self.checked], self.labels)


@pytest.mark.parametrize(("active", "response"), [(False, 1.0), (True, 1.0), (True, 0.6)], ids=str)
def test_errors_are_estimated_without_bias_under_both_samplings(
    *, active: bool, response: float
) -> None:
    rng = np.random.default_rng(3)
    worlds = [World(rng, active=active, response=response) for _ in range(16)]
    for who in ("student", "teacher"):
        found = [world.of(who) for world in worlds]
        off = np.array(
            [one.estimate - getattr(w, who).mean() for one, w in zip(found, worlds, strict=True)]
        )
        pulls = off / np.sqrt([one.variance for one in found])
        assert abs(off.mean()) < 3 * off.std(ddof=1) / math.sqrt(len(off))
        assert 0.6 < pulls.std(ddof=1) < 1.5, "the stated variance is that of the estimates"


def test_only_people_who_answer_according_to_the_truth_could_mislead_it() -> None:
    checked = [Checked(10.0, 0.0, 0.0, 0.0)] * 90 + [Checked(2.5, 1.0, 1.0, 0.0)] * 10
    labels = Agreement.of([(0.0, 0.1)] * 900 + [(1.0, 0.1)] * 100)
    full = mean_loss(checked, [row.student for row in checked], labels)
    fewer = mean_loss(checked[45:], [row.student for row in checked[45:]], labels)
    assert fewer.estimate == pytest.approx(full.estimate) == pytest.approx(0.1)


def test_a_ticket_that_was_asked_about_more_often_speaks_for_fewer() -> None:
    # half of the traffic is risky, asked about four times as often, and wrong in 30 %
    checked = [Checked(10.0, 0.0, 0.0, 0.0)] * 100
    checked += [Checked(2.5, 0.0, 1.0, 1.0)] * 120 + [Checked(2.5, 0.0, 0.0, 0.0)] * 280
    labels = Agreement.of([(0.0, 0.1)] * 100 + [(0.0, 0.4)] * 400)
    found = mean_loss(checked, [row.student for row in checked], labels)
    assert found.estimate == pytest.approx(0.15)


def test_few_labels_leave_the_share_of_disagreements_unknown() -> None:
    checked = [Checked(1.0, 0.0, 0.0, 0.0)] * 50_000 + [Checked(1.0, 1.0, 1.0, 0.0)] * 50_000
    labels = Agreement.of([(0.0, 0.1)] * 90 + [(1.0, 0.1)] * 10)
    found = mean_loss(checked, [row.student for row in checked], labels)
    assert found.estimate == pytest.approx(0.1)
    assert math.sqrt(found.variance) == pytest.approx(math.sqrt(0.1 * 0.9 / 100), rel=0.01)


def test_the_sums_of_two_shards_are_those_of_both() -> None:
    labels = [(0.0, 0.1), (1.0, 0.2), (0.25, 0.1), (0.0, 0.5)]
    merged = Agreement.of(labels[:1]).merge(Agreement.of(labels[1:]))
    assert merged == Agreement.of(labels)
    mean = merged.disagreement
    assert mean.estimate == pytest.approx((5 + 2.5) / (10 + 5 + 10 + 2))
    assert Agreement().merge(merged) == merged


def test_where_no_error_was_seen_the_bounds_have_a_width() -> None:
    rows = [Checked(200.0, 0.0, 0.0, 0.0)] * 200
    labels = Agreement.of([(0.0, 0.1)] * 2000 + [(1.0, 0.1)] * 20)
    found = bounds(rows, [0.0] * 200, labels)
    assert found is not None
    assert (found.estimate, found.lower) == (0.0, 0.0)
    assert 0.01 < found.upper < 0.06


def test_fewer_answers_than_it_takes_have_no_bounds() -> None:
    rows = [Checked(20.0, 0.0, 0.0, 0.0)] * (MIN_GOLD - 1)
    assert bounds(rows, [0.0] * len(rows), Agreement.of([(0.0, 0.1)] * 200)) is None
    assert mean_loss([], [], Agreement()) == Mean(0.0, 0.0, 0)


def test_answers_that_can_be_counted_have_exact_bounds() -> None:
    from monitor.estimation.beta_binomial import confidence_sequence

    rows = [Checked(20.0, 0.0, 0.0, 0.0)] * 150 + [Checked(20.0, 1.0, 1.0, 1.0)] * 50
    labels = Agreement.of([(0.0, 0.05)] * 150 + [(1.0, 0.05)] * 50)
    assert bounds(rows, [row.teacher for row in rows], labels) == confidence_sequence(50, 200)


def test_a_disagreement_is_shown_to_people_twice_as_often() -> None:
    assert gold_probability(0.05, 1.0) == pytest.approx(2 * gold_probability(0.05, 0.0))
    assert gold_probability(0.05, 0.5) == pytest.approx(1.5 * 0.05)
    assert gold_probability(0.9, 1.0) == 1.0


@pytest.mark.parametrize("probability", [0.0125, 0.02, 0.05, 0.2, 1.0])
@pytest.mark.parametrize("loss", [0.0, 0.3, 1.0])
def test_an_audited_answer_is_a_score_the_bets_can_take(probability: float, loss: float) -> None:
    scores = audit_score(probability, loss, tolerance=0.1, typical=0.05, at=0.0)
    assert scores.usable
    ((value, count),) = scores.values
    assert count == 1
    # summed over the draw, its excess is that of the loss, in units of `typical`
    assert probability * (value - 0.1) == pytest.approx(0.05 * (loss - 0.1))


def test_the_audit_alarms_where_disagreements_hide_a_bad_teacher_and_not_where_they_overstate_it() -> (
    None
):
    rng = np.random.default_rng(2)

    def alarms(agreed_wrong: float, disagreed_wrong: float) -> int:
        found = 0
        for _ in range(4):
            level = Level(LevelSettings(tolerance=0.1))
            disagrees = rng.random(4000) < 0.1
            shown = rng.random(4000) < np.where(disagrees, 0.4, 0.1)
            wrong = rng.random(4000) < np.where(disagrees, disagreed_wrong, agreed_wrong)
            scores = [
                audit_score(0.4 if d else 0.1, float(w), tolerance=0.1, typical=0.1, at=0.0)
                for d, w in zip(disagrees[shown], wrong[shown], strict=True)
            ]
            level.update(scores)
            found += level.latched
        return found

    # 10 % in all traffic, although 27 % of what people are shown
    assert alarms(0.04, 0.64) == 0
    assert alarms(0.25, 0.6) == 4


@pytest.mark.parametrize("settings", [{"rate": -0.1}, {"rate": 1.1}, {"patience_days": 0.0}])
def test_settings_of_gold_that_cannot_be_meant_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        GoldSettings(**settings)
