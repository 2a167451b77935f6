"""The policy on history: which decisions would have been made, from a replayed journal."""

from __future__ import annotations

import sqlalchemy as sa

from retrain import evidence, store
from retrain.config import RetrainSettings
from retrain.policy import decide
from retrain.store import Champion
from schemas.decisions import Decision


class JournalPolicy:
    """Decides from a journal that a replay fills. It starts no run, so it never cools down."""

    def __init__(self, engine: sa.Engine, settings: RetrainSettings) -> None:
        self._engine = engine
        self._lane = settings.retrain.lane
        self._contract = settings.contract
        self._probation_labels = settings.retrain.probation_labels

    def serve(self, model: str, now: float) -> None:
        """Note that production's answers come from this student from now on."""
        with self._engine.begin() as connection:
            history = store.champions(connection, self._lane)
            champion = Champion(
                lane=self._lane,
                version=history[-1].version + 1 if history else 1,
                artefact_id=model,
                since=now,
                actor="history",
                reason="it answers production's tickets",
            )
            store.install_champion(connection, champion)

    def decide(self, now: float) -> Decision | None:
        """Return the decision of this moment; None when it is the last one again."""
        with self._engine.begin() as connection:
            situation = evidence.gather(
                connection,
                self._lane,
                contract=self._contract.hash,
                probation_labels=self._probation_labels,
            )
            decision = decide(situation, self._contract, now)
            return decision if store.record_decision(connection, decision) else None
