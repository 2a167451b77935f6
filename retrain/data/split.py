"""Which rows are learned from and which are kept apart: by near-duplicate cluster, newest last."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from retrain.data.select import keyed
from retrain.order import LabelledRow
from schemas.errors import ProctordError

#: share of the recent random rows that judge a challenger, and that calibrate it
HOLDOUT_SHARE, CALIBRATION_SHARE = 0.15, 0.05
#: random rows below which a first student is judged on a draw from all rows instead
ENOUGH_RANDOM = 200


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """Indices of rows. `dropped` are near-duplicates of rows that were kept apart."""

    train: tuple[int, ...]
    calibration: tuple[int, ...]
    holdout_recent: tuple[int, ...]
    dropped: tuple[int, ...]


def split(
    rows: Sequence[LabelledRow],
    clusters: Sequence[str],
    *,
    recent_since: float,
    first_student: bool,
    seed: int,
) -> Split:
    """Return what is learned from, calibrated on and judged on; no cluster is in two of them.

    Only recent rows of the uniform draw judge a student: their inclusion probability is known,
    so they speak for the traffic. The newest 15 % are held out, the 5 % before them calibrate,
    and every other row of a cluster that is touched leaves training.

    Assumption: a first student has no traffic of its own yet. Where there are fewer than
    `ENOUGH_RANDOM` random rows, it is judged on a keyed draw from all rows, not on the newest
    ones, because imported history often stands in the order of its classes.

    Raises
    ------
    ProctordError: nothing can be held out, or nothing is left to learn from.
    """
    line = _line(rows, recent_since=recent_since, first_student=first_student, seed=seed)
    held = _tail(line, len(line), HOLDOUT_SHARE)
    before = line[: len(line) - len(held)]
    held_clusters = {clusters[i] for i in held}
    fitted = [
        i for i in _tail(before, len(line), CALIBRATION_SHARE) if clusters[i] not in held_clusters
    ]
    apart = held_clusters | {clusters[i] for i in fitted}
    train = [i for i in range(len(rows)) if clusters[i] not in apart]
    if not held or not train:
        raise ProctordError(
            f"of {len(rows)} labelled rows {len(line)} may judge a student: {len(held)} were held "
            f"out and {len(train)} are left to learn from",
            next_step="wait for more randomly sampled labels, or raise the sampling rate",
        )
    kept = {*held, *fitted, *train}
    return Split(
        train=tuple(train),
        calibration=tuple(fitted),
        holdout_recent=tuple(held),
        dropped=tuple(i for i in range(len(rows)) if i not in kept),
    )


def _line(
    rows: Sequence[LabelledRow], *, recent_since: float, first_student: bool, seed: int
) -> list[int]:
    """Return the rows that may judge a student, in the order in which they are kept apart."""
    random = [i for i, row in enumerate(rows) if row.reason == "random" and row.at >= recent_since]
    if first_student and len(random) < ENOUGH_RANDOM:
        return sorted(range(len(rows)), key=lambda i: keyed(seed, rows[i].ticket_id))
    return sorted(random, key=lambda i: (rows[i].at, keyed(seed, rows[i].ticket_id)))


def _tail(line: list[int], of: int, share: float) -> list[int]:
    size = round(of * share)
    return line[len(line) - size :] if size else []
