"""Other ways to notice that a rate went up, on labels of 0 and 1, for the benchmark of alarms.

river's detectors are the installed ones. The others are written here from their descriptions,
because their packages do not install beside ours or hold nothing else that is needed:

- chunks of 500 against mean + 3 standard deviations of the reference's chunks (NannyML's default);
- chunks of 500 whose accuracy is a fifth below the reference's (the relative rule of test suites);
- betting without restarts (Waudby-Smith & Ramdas, arXiv 2010.09686);
- a confidence sequence for the running mean, above the tolerance (Podkopaev & Ramdas, arXiv
  2110.06177, with the beta-binomial sequence, which is tighter for 0 and 1 than theirs).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from river.drift import ADWIN, KSWIN, PageHinkley
from river.drift.binary import DDM, HDDMA
from scipy.special import betaln

from monitor.detectors import SECOND_OPINIONS, make
from monitor.estimation.beta_binomial import PRIOR_A, PRIOR_B
from tests.bench.engines import DELTA, first_true, level_on_labels
from tests.bench.streams import Floats

#: labels before the step, of which the chunk rules make their reference
STEP = 5000
CHUNK = 500


class Peer(NamedTuple):
    """A rule: index of its first alarm at or after `since`, per run; infinite when none.

    NaN where the rule alarms once only, and did so before.
    """

    name: str
    first_alarm: Callable[[Floats, float, int], Floats]
    #: microseconds a label, about: how many runs can be afforded
    cost: float


def latched(first: Floats, since: int) -> Floats:
    """An alarm that came too early is none: the alarm was spent."""
    return np.where(first < since, np.nan, first)


def without_restart(losses: Floats, tolerance: float, since: int) -> Floats:
    """The textbook test by betting: all money at once, and none later."""
    first = level_on_labels(losses, tolerance, share=lambda block: float(block == 0))
    return latched(first, since)


def running_mean(losses: Floats, tolerance: float, since: int) -> Floats:
    """Alarm when the sequence of the mean of all labels lies above the tolerance."""
    n = np.arange(1, losses.shape[1] + 1)
    hits = np.cumsum(losses, axis=1)
    mixture = betaln(PRIOR_A + hits, PRIOR_B + n - hits) - betaln(PRIOR_A, PRIOR_B)
    likelihood = hits * np.log(tolerance) + (n - hits) * np.log1p(-tolerance)
    above = (hits > tolerance * n) & (mixture - likelihood >= np.log(1 / DELTA))
    return latched(first_true(above), since)


def _chunks(losses: Floats, limit: Callable[[Floats], Floats], since: int) -> Floats:
    """First chunk after the reference whose mean is above the limit that the reference gives."""
    whole = losses.shape[1] // CHUNK
    means = losses[:, : whole * CHUNK].reshape(len(losses), whole, CHUNK).mean(axis=2)
    highest = limit(means[:, : STEP // CHUNK])
    ends = np.arange(1, whole + 1) * CHUNK - 1
    alarms = (means > highest[:, None]) & (ends >= max(since, STEP))
    chunk = np.where(alarms.any(axis=1), alarms.argmax(axis=1), whole)
    return np.append(ends, np.inf)[chunk]


def chunk_3sd(losses: Floats, _tolerance: float, since: int) -> Floats:
    """Means of chunks against the reference's mean + 3 standard deviations."""
    return _chunks(losses, lambda r: r.mean(axis=1) + 3 * r.std(axis=1, ddof=1), since)


def relative_accuracy(losses: Floats, _tolerance: float, since: int) -> Floats:
    """Accuracy of chunks against four fifths of the reference's."""
    return _chunks(losses, lambda r: 1 - 0.8 * (1 - r.mean(axis=1)), since)


def of_river(
    build: Callable[[], object], memory: int | None = None
) -> Callable[[Floats, float, int], Floats]:
    """A detector of river as it comes, fed with the raw labels; it resets after an alarm.

    `memory`: labels that it can depend on; what lies further before `since` is left out.
    """

    def first(row: Floats, since: int) -> float:
        detector: object = build()
        start = 0 if memory is None else max(0, since - memory)
        for index, value in enumerate(row[start:].tolist(), start):
            detector.update(value)  # type: ignore[attr-defined]
            if detector.drift_detected and index >= since:  # type: ignore[attr-defined]
                return index
        return np.inf

    return lambda losses, _tolerance, since: np.array([first(row, since) for row in losses])


def shipped(kind: str) -> Callable[[Floats, float, int], Floats]:
    """A second opinion on disagreement as it ships."""
    settings = SECOND_OPINIONS["disagreement"][kind]

    def first(row: Floats, since: int) -> float:
        detector = make(kind, settings)
        for index, value in enumerate(row.tolist()):
            if detector.update((value,)) and index >= since:
                return index
        return np.inf

    return lambda losses, _tolerance, since: np.array([first(row, since) for row in losses])


PEERS = [
    Peer("betting, no restart", without_restart, 0.1),
    Peer("running-mean sequence", running_mean, 0.1),
    Peer("chunk 500, mean + 3 sd", chunk_3sd, 0.01),
    Peer("chunk 500, accuracy -20 %", relative_accuracy, 0.01),
    Peer("adwin, as shipped", shipped("adwin"), 3.0),
    Peer("ADWIN default", of_river(ADWIN), 0.5),
    Peer("ADWIN delta .01", of_river(lambda: ADWIN(delta=0.01)), 0.5),
    Peer("page_hinkley, as shipped", shipped("page_hinkley"), 4.0),
    Peer("PageHinkley default", of_river(PageHinkley), 1.0),
    Peer("DDM", of_river(DDM), 1.0),
    Peer("HDDM_A", of_river(HDDMA), 10.0),
    # it compares the last 30 labels with 70 before them
    Peer("KSWIN", of_river(lambda: KSWIN(seed=1), memory=200), 1000.0),
]
