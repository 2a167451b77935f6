"""What `proctord status` says of a journal."""

from __future__ import annotations

from typing import Any

import factories
import sqlalchemy as sa

from monitor import status
from monitor.alerts.stages import AlertSettings, reconcile
from monitor.store import labelling, notifying
from schemas.alerts import Condition
from schemas.contract import QualityContract

NOW = factories.START + 3600


def page(connection: sa.Connection) -> dict[str, str]:
    found = status.gather(
        connection,
        now=NOW,
        lane="shop",
        contract=QualityContract(tolerance=0.1),
        stale_after=900.0,
    )
    return dict(status.rows(found))


def fire(connection: sa.Connection, *segments: str) -> None:
    conditions = [
        Condition(
            name="QualityOutOfBounds",
            severity="page",
            labels={"lane": "shop", "segment": segment},
            since=NOW - 60,
            summary="",
            proctord_does="",
            you_do="",
        )
        for segment in segments
    ]
    settings = AlertSettings(instance="shop", channels=())
    notifying.apply(connection, reconcile(conditions, [], NOW, settings, lambda _: ""), NOW)


def test_alerts_are_named_with_their_traffic(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        fire(connection, "*", "channel=mail", "channel=\x1b[2J\nchat")
        said = page(connection)["alerts"]
    assert sorted(said.split(", ")) == [
        "QualityOutOfBounds of all traffic",
        "QualityOutOfBounds of channel=[2J chat",
        "QualityOutOfBounds of channel=mail",
    ]


def test_samples_of_the_traffic_are_counted_apart_from_history_and_canaries(
    engine: sa.Engine,
) -> None:
    samples: list[dict[str, Any]] = [
        {"ticket_id": "t1"},
        {"ticket_id": "t2", "reason": "requested"},
        {"ticket_id": "c1", "reason": "sentinel", "model": "canary"},
        {"ticket_id": "h1", "reason": "requested", "model": "history"},
    ]
    with engine.begin() as connection:
        labelling.add_samples(connection, [factories.sample(**one) for one in samples], NOW)
        assert (
            page(connection)["samples"]
            == "traffic: waiting 2; history: waiting 1; canaries: waiting 1"
        )
