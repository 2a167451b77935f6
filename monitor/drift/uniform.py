"""Which sampled tickets stand for all traffic, whatever the sampling plan was."""

from __future__ import annotations

from collections.abc import Iterable

from monitor.sampling import draw
from schemas.samples import Sample


def uniform(samples: Iterable[Sample], salt: str, limit: int) -> list[Sample]:
    """Return a uniform sample of a slice's student traffic from what was drawn for the teacher.

    A plan may draw one segment, or one kind of ticket, more often than others, and another plan
    may follow within the slice. But each draws `random` whatever has a keyed number below its
    floor. So the tickets below the lowest floor that was in force are drawn alike under all of
    them; and of those the ones with the lowest numbers, if there are more than `limit`.

    Parameters
    ----------
    samples: of one slice, of any reason and plan.
    salt: the secret of the draw.
    limit: at most so many are returned, in the order of their event times.
    """
    drawn = [sample for sample in samples if sample.reason == "random"]
    floor = min((sample.inclusion_probability for sample in drawn), default=0.0)
    numbered = [(draw(salt, "random", sample.ticket_id), sample) for sample in drawn]
    below = sorted(
        (pair for pair in numbered if pair[0] < floor),
        key=lambda pair: (pair[0], pair[1].ticket_id),
    )
    return sorted((sample for _, sample in below[:limit]), key=lambda one: (one.at, one.ticket_id))
