"""How drift is watched: the keys of `[drift]`."""

from __future__ import annotations

from typing import Final

import msgspec

from monitor.drift.reading import EMBEDDED, FEATURES
from monitor.drift.watch import LEAST

#: The reference needs so many slices: below it the tails of its p-values are wrong.
LEAST_REFERENCE: Final = 60


class EmbedderSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which model says what sampled tickets are about, and of how many it is asked.

    It is worth its while from some 25 tickets a slice on, of those that are drawn `random`: a slice
    of an hour or a day that holds 1,000 tickets, at a `random_rate` of 0.05, half of which goes
    to risky ones. Slices of fewer than 20 are put together. It watches once it has 1,000 texts for
    its map and then `reference` slices, so in small shops it takes months.
    """

    #: directory of a transformers encoder with its tokenizer
    model: str
    #: tickets of a slice that are embedded at most, some 20 ms of one core each
    texts: int = 500

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises
        ------
        ValueError: there would be too few texts to judge a slice by.
        """
        if self.texts < LEAST:
            raise ValueError(f"texts is {self.texts}; it must be {LEAST} or more")


class DriftSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How drift is watched, and how often it may be told although there is none."""

    #: length of a slice, a multiple of the windows' length: an hour, or a day below some 500
    #: tickets a day, because a slice of fewer than 20 is passed over
    slice_seconds: float = 3600.0
    #: clean slices that the reference is made from. They must hold a whole round of the season,
    #: or it is taken for drift: a week of hours; of days, 60
    reference: int = 168
    #: false alarms a year that are accepted, over all features and scales together
    false_alarms_per_year: float = 1.0
    #: wobble of a share that is no news, as a part of its odds (0.3: 10 % against 12.6 % is one
    #: standard deviation of it); less tells more, and sooner
    slack: float = 0.3
    #: None: what tickets are about is not watched
    embedder: EmbedderSettings | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises
        ------
        ValueError: naming the field, what it is and what it must be.
        """
        if self.reference < LEAST_REFERENCE:
            raise ValueError(f"reference is {self.reference}; it must be {LEAST_REFERENCE} or more")
        for name in ("slice_seconds", "false_alarms_per_year"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        if not 0 <= self.slack < 1:
            raise ValueError(f"slack is {self.slack}; it must lie between 0 and 1")

    @property
    def features(self) -> tuple[str, ...]:
        """The features that are watched: those of texts' embeddings where there is an embedder."""
        return tuple(name for name in FEATURES if self.embedder or name not in EMBEDDED)

    @property
    def judged_by(self) -> tuple[float, ...]:
        """What a state stands and falls with: all but the embedder, whose counts begin anew alone."""
        return (self.slice_seconds, self.reference, self.false_alarms_per_year, self.slack)
