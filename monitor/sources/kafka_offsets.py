"""Where Kafka's partitions begin and end, and which positions cannot be gone on from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

from kafka import KafkaConsumer, TopicPartition

from schemas.errors import PositionError

#: Seconds for a question about offsets.
LOOKUP: Final = 5.0

Start = Literal["earliest", "latest"] | float


def name_of(place: TopicPartition) -> str:
    """Name a partition by its topic: another topic must not go on at this one's offsets."""
    return f"{place.topic}/{place.partition}"


def beginnings(
    consumer: KafkaConsumer, places: Iterable[TopicPartition]
) -> dict[TopicPartition, int]:
    """Return the first offset that each partition still has."""
    return dict(consumer.beginning_offsets(list(places), timeout_ms=LOOKUP * 1000))


def starts(
    consumer: KafkaConsumer, start: Start, places: Sequence[TopicPartition]
) -> dict[TopicPartition, int]:
    """Return where a first start begins: at the ends, or at the first record stamped `start`."""
    if start == "earliest":
        return beginnings(consumer, places)
    offsets = dict(consumer.end_offsets(places, timeout_ms=LOOKUP * 1000))
    if not isinstance(start, str):
        stamped = dict.fromkeys(places, int(start * 1000))
        found = consumer.offsets_for_times(stamped, timeout_ms=LOOKUP * 1000)
        offsets |= {place: at.offset for place, at in found.items() if at is not None}
    return offsets


def outside(
    consumer: KafkaConsumer, positions: Mapping[TopicPartition, int]
) -> dict[str, tuple[int, int]]:
    """Return the positions that lie outside their partition: (wanted, first that is there)."""
    first = beginnings(consumer, positions)
    end = consumer.end_offsets(list(positions), timeout_ms=LOOKUP * 1000)
    return {
        name_of(place): (at, first[place])
        for place, at in positions.items()
        if not first[place] <= at <= end[place]
    }


def gap_error(found: Mapping[str, tuple[int | None, int]]) -> PositionError:
    """Say what is gone, or that nothing says where to begin."""
    lost = [f"{name} from {at} to {first}" for name, (at, first) in found.items() if at is not None]
    if lost:
        return PositionError(
            f"Kafka does not have what was to be read next: {', '.join(lost)}",
            gaps=found,
            next_step="`proctord source accept-gap --reason ...` notes the loss and goes on from "
            "the first event that is left; then start the daemon again",
        )
    return PositionError(
        f"the journal has no position of {', '.join(found)}",
        gaps=found,
        next_step='say where the first start begins: `source.kafka.start` = "earliest", "latest" '
        "or epoch seconds",
    )
