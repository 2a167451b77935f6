"""A level detector on one stream about the teacher, as the journal holds it between turns."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from monitor.detectors.finding import resume
from monitor.detectors.level import Level, LevelSettings
from monitor.estimation.scores import Scores
from monitor.loops.signals import signal
from monitor.store import evaluation
from monitor.store.evaluation import DetectorKey
from schemas.contract import QualityContract
from schemas.signals import Signal


class TeacherLevel:
    """Watches one stream of one generation of the teacher.

    Each stream may page falsely with the contract's probability, beside what the students may.

    Parameters
    ----------
    metric: `teacher_error` or `canary`.
    tolerance: the mean that is accepted, in (0, 1).
    subject: what the stream is of, in words, for the signal's sentence.
    """

    def __init__(
        self,
        connection: sa.Connection,
        metric: str,
        generation: str,
        *,
        contract: QualityContract,
        tolerance: float,
        subject: str,
    ) -> None:
        self._connection = connection
        self._contract = contract.hash
        self._subject = subject
        self._key = DetectorKey("level", metric, "*", generation)
        settings = LevelSettings(
            tolerance=tolerance,
            delta=contract.false_alarm_probability,
            generation=f"{contract.hash}/{generation}",
        )
        state = evaluation.detector_state(connection, self._key)
        self._level = resume(Level, settings, state)

    @property
    def new(self) -> bool:
        """Whether it has seen nothing under these terms."""
        return self._level.n == 0

    @property
    def paged(self) -> bool:
        """Whether it has ever paged under these terms."""
        return self._level.latched

    def update(self, scores: Sequence[Scores], now: float) -> tuple[Signal, ...]:
        """Take scores in order; return, and keep the state of, what was found."""
        if not scores:
            return ()
        finding = self._level.update(scores)
        states = {self._key: self._level.state()}
        evaluation.write_detector_states(self._connection, states, now)
        if finding is None:
            return ()
        sentence = f"{self._subject}: {finding.sentence}"
        return (signal(self._key, finding, at=now, contract=self._contract, sentence=sentence),)
