"""How much a row counts while the student learns."""

from __future__ import annotations

import pytest

from retrain.data.dataset import row_weight
from retrain.order import LabelledRow


@pytest.mark.parametrize(
    ("prose", "probabilities", "recent", "expected"),
    [
        ("a sure teacher on an archived row", (("ask0", 0.8),), False, 0.8),
        ("recent rows weigh three times as much", (("ask0", 0.8),), True, 2.4),
        ("a guessing teacher still teaches a little", (("ask0", 0.01),), False, 0.3),
        ("a teacher without probabilities is taken at its word", (), False, 1.0),
        ("an answer outside the stated top labels is a guess", (("ask1", 0.9),), False, 0.3),
    ],
)
def test_the_weight_of_a_row(
    prose: str, probabilities: tuple[tuple[str, float], ...], *, recent: bool, expected: float
) -> None:
    row = LabelledRow(
        ticket_id="t",
        at=0.0,
        text="where is my refund",
        output="ask0",
        probabilities=probabilities,
        reason="random",
        inclusion_probability=0.1,
    )
    found = row_weight(row, recent=recent, recent_weight=3.0)
    assert found == pytest.approx(expected), prose
