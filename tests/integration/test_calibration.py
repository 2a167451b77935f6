"""What is learned of a student's errors: a fit takes some 20 ms, too long for a unit test."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.estimation.calibration import LEAST_RISK, MIN_LABELS, Outcome, fit
from monitor.sampling import MOST_LEVELS, Risk, SamplingPlan


def outcomes(
    count: int = 800,
    seed: int = 1,
    risk_of: dict[str, float] | None = None,
    confidence: float | str | None = "stated",
) -> list[Outcome]:
    """Tickets whose student errs with probability 1 - confidence, and more in some classes."""
    random, found = Random(seed), []
    for _ in range(count):
        stated = random.betavariate(4, 1)
        output = random.choice("abcd")
        risk = (1 - stated) if risk_of is None else risk_of[output]
        said = stated if confidence == "stated" else confidence
        found.append(Outcome(said, output, float(random.random() < risk), 0.1))
    return found


def expected(risk: Risk, confidence: float | None, output: str = "a") -> float:
    return risk.levels[risk.level(confidence, output)]


def test_the_probability_of_an_error_follows_the_confidence() -> None:
    risk = fit(outcomes(1500), now=7.0)
    assert (risk.at, risk.labels) == (7.0, 1500)
    for stated in (0.5, 0.7, 0.9):
        assert expected(risk, stated) == pytest.approx(1 - stated, abs=0.06)


def test_what_is_expected_is_right_on_average() -> None:
    said = outcomes(800, seed=3)
    risk = fit(said, 0.0)
    mean = np.mean([expected(risk, one.confidence, one.output) for one in said])
    assert mean == pytest.approx(np.mean([one.loss for one in said]), abs=0.01)


def test_the_draw_of_tickets_does_not_bend_the_curve() -> None:
    # wrong answers were asked about four times as often: without weights they would seem likelier
    random = Random(5)
    drawn = [
        one._replace(probability=0.4 if one.loss else 0.1)
        for one in outcomes(8000, seed=4)
        if random.random() < (0.4 if one.loss else 0.1)
    ]
    risk = fit(drawn, 0.0)
    assert expected(risk, 0.7) == pytest.approx(0.3, abs=0.08)


def test_a_class_that_errs_more_is_expected_to() -> None:
    risk = fit(outcomes(risk_of={"a": 0.02, "b": 0.02, "c": 0.02, "d": 0.6}), 0.0)
    assert expected(risk, 0.9, "d") > 0.4
    assert expected(risk, 0.9, "a") < 0.1


def test_a_class_that_was_never_met_counts_as_an_average_one() -> None:
    risk = fit(outcomes(risk_of={"a": 0.02, "b": 0.02, "c": 0.02, "d": 0.6}), 0.0)
    assert expected(risk, 0.9, "a") < expected(risk, 0.9, "new") < expected(risk, 0.9, "d")


def test_rare_answers_have_no_offset() -> None:
    said = [one._replace(output=f"text {n}") for n, one in enumerate(outcomes())]
    assert fit(said, 0.0).offsets == {}


@pytest.mark.parametrize("confidence", [None, 0.9, 0.0, 1.0])
def test_without_telling_confidences_the_classes_alone_tell_tickets_apart(
    confidence: float | None,
) -> None:
    said = outcomes(risk_of={"a": 0.05, "b": 0.05, "c": 0.05, "d": 0.5}, confidence=confidence)
    risk = fit(said, 0.0)
    assert expected(risk, confidence, "d") > 4 * expected(risk, confidence, "a")
    assert len(risk.levels) <= 4


def test_a_missing_confidence_has_a_risk_of_its_own() -> None:
    silent = [one._replace(confidence=None, loss=float(n % 2)) for n, one in enumerate(outcomes())]
    risk = fit([*outcomes(seed=2), *silent], 0.0)
    assert expected(risk, None) == pytest.approx(0.5, abs=0.1)
    assert expected(risk, 0.95) < 0.15


@pytest.mark.parametrize("loss", [0.0, 1.0])
def test_a_student_that_is_always_right_or_always_wrong_is_no_certainty(loss: float) -> None:
    risk = fit([one._replace(loss=loss) for one in outcomes()], 0.0)
    assert all(LEAST_RISK <= g <= 1 - LEAST_RISK for g in risk.levels)
    assert all(abs(g - loss) < 0.02 for g in risk.levels)


def test_a_student_whose_tickets_are_all_alike_has_one_level() -> None:
    risk = fit([Outcome(0.9, "a", float(n % 10 == 0), 0.1) for n in range(400)], 0.0)
    assert risk.levels == (pytest.approx(0.1, abs=0.01),)
    assert SamplingPlan(random_rate=0.1, students={"m": risk}).strata("m")[0].probability == (
        pytest.approx(0.1)
    )


def test_losses_may_have_degrees() -> None:
    risk = fit([one._replace(loss=one.loss / 2) for one in outcomes(1500)], 0.0)
    assert expected(risk, 0.5) == pytest.approx(0.25, abs=0.05)


def test_few_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="299 outcomes"):
        fit(outcomes(MIN_LABELS - 1), 0.0)


def test_the_same_labels_give_the_same_risk_in_any_order() -> None:
    said = outcomes(600)
    risk, again = fit(said, 0.0), fit(said, 0.0)
    assert risk == again
    other = fit(said[::-1], 0.0)
    assert expected(other, 0.8) == pytest.approx(expected(risk, 0.8), abs=1e-3)


confidences = st.one_of(st.none(), st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0]))
rows = st.builds(
    Outcome,
    confidences,
    st.sampled_from(["a", "b", "", "a text"]),
    st.floats(0, 1),
    st.floats(0.001, 1.0),
)


@settings(max_examples=10)
@given(st.lists(rows, min_size=1, max_size=12), st.floats(0.01, 1.0))
def test_any_labels_give_a_plan_that_can_be_used(some: list[Outcome], rate: float) -> None:
    risk = fit((some * MIN_LABELS)[:MIN_LABELS], 0.0)
    assert 1 <= len(risk.levels) <= MOST_LEVELS
    assert len(risk.edges) == len(risk.levels) - 1
    plan = SamplingPlan(random_rate=rate, students={"m": risk})
    strata = plan.strata("m")
    assert all(plan.floor("m") <= s.probability <= 1 for s in strata)
    # the traffic that it was fitted on is asked about at the rate, where nothing is capped at 1
    weights = np.array([1 / one.probability for one in (some * MIN_LABELS)[:MIN_LABELS]])
    asked = [strata[risk.level(one.confidence, one.output)].probability for one in some]
    mean = np.average((asked * MIN_LABELS)[:MIN_LABELS], weights=weights)
    assert mean == pytest.approx(rate) or (max(asked) == 1.0 and mean < rate)
