"""What the loops would have written in a journal, for tests that begin after them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from monitor.store import labelling
from schemas import tables
from schemas.samples import Label, Sample


def add_labelled(connection: sa.Connection, found: Sequence[tuple[Sample, Label]]) -> None:
    """Write samples as the consumer queues them, and their labels as a labeller does."""
    labelling.add_samples(connection, [sample for sample, _ in found], found[0][0].at)
    done = (
        sa.update(tables.sample)
        .where(tables.sample.c.ticket_id == sa.bindparam("key"))
        .values(state="labelled")
    )
    connection.execute(done, [{"key": sample.ticket_id} for sample, _ in found])
    connection.execute(
        sa.insert(tables.label),
        [
            {
                "ticket_id": label.ticket_id,
                "at": sample.at,
                "labelled_at": label.at,
                "reason": sample.reason,
                "model": sample.model,
                "disagreement": label.disagreement,
                "body": msgspec.json.encode(label),
            }
            for sample, label in found
        ],
    )
