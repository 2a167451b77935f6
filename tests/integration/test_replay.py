"""When a replay looks at what it read: once a window, and once more at the end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from monitor.loops.consume import ConsumeTurn
from monitor.replay import replay
from schemas.journal import ensure_schema, open_journal


class Consumer:
    """Turns of a `ConsumeLoop` after which its watermark stands at these times; then no more."""

    def __init__(self, *watermarks: float | None) -> None:
        self._coming = list(watermarks)
        self.watermark: float | None = None

    def once(self, now: float, timeout: float) -> ConsumeTurn:
        assert (now, timeout) == (self.watermark or 0.0, 0.0)
        if not self._coming:
            return ConsumeTurn(0, checkpointed=False)
        self.watermark = self._coming.pop(0)
        return ConsumeTurn(10, checkpointed=False)

    def checkpoint(self, now: float) -> None:
        assert now == self.watermark


def looks(*watermarks: float | None) -> list[float]:
    """Return the times at which a replay with windows of 600 s evaluates."""
    found: list[float] = []

    def evaluate(now: float) -> Any:
        found.append(now)
        return SimpleNamespace(signals=())

    monitor: Any = SimpleNamespace(
        consume=Consumer(*watermarks),
        label=SimpleNamespace(once=lambda _now: SimpleNamespace(labelled=0)),
        embed=None,
        evaluate=SimpleNamespace(once=evaluate),
    )
    policy: Any = SimpleNamespace(decide=lambda _now: None)
    engine = open_journal("sqlite://")
    ensure_schema(engine)
    assert not list(replay(monitor, engine, policy, every=600.0))
    engine.dispose()
    return found


@pytest.mark.parametrize(
    ("prose", "watermarks", "expected"),
    [
        ("nothing to read", [], []),
        ("events, but no watermark yet", [None, None], []),
        ("one look a window, not one a batch", [700, 800, 1190, 1210, 1300], [700, 1210]),
        ("a batch that spans windows is one look", [700, 4000, 4100], [700, 4000]),
    ],
)
def test_a_replay_looks_when_a_window_closed_and_at_the_end(
    prose: str, watermarks: list[float | None], expected: list[float]
) -> None:
    at_the_end = [watermarks[-1]] * 2 if expected else []
    assert looks(*watermarks) == expected + at_the_end, prose
