"""From a detector's finding to the signal that the journal holds: where, when, under what terms."""

from __future__ import annotations

from monitor.detectors.finding import Finding
from monitor.store.evaluation import DetectorKey
from schemas.signals import Interval, Signal


def signal(
    key: DetectorKey,
    finding: Finding,
    *,
    at: float,
    contract: str,
    sentence: str | None = None,
    interval: Interval | None = None,
) -> Signal:
    """Return what was found in the stream that `key` names.

    Parameters
    ----------
    at: event time, seconds UTC.
    contract: hash of the one that it was judged by.
    sentence, interval: in place of the finding's own, where more is known.
    """
    return Signal(
        at=at,
        detector=key.detector,
        metric=key.metric,
        segment=key.segment,
        model=key.model,
        severity=finding.severity,
        statistic=finding.statistic,
        threshold=finding.threshold,
        n=finding.n,
        interval=finding.interval if interval is None else interval,
        sentence=finding.sentence if sentence is None else sentence,
        contract=contract,
    )
