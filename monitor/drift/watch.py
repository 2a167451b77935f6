"""One feature: learning what is clean, watching, told, and watching again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from monitor.drift.evidence import carry_on
from monitor.drift.reading import FEATURES, Reading
from monitor.drift.reference import Reference, fit, judge
from monitor.drift.wording import Contributor, contributors

#: A slice with fewer than this says nothing by itself.
LEAST: Final = 20
#: So many slices in a row that surprise nobody end an alarm.
CALM_SLICES: Final = 7
CALM_P: Final = 0.05


class WatchState(msgspec.Struct, array_like=True):
    """What the future of one feature depends on."""

    #: slices seen in this generation
    seen: int = 0
    #: slices that the references were made from, and those toward the next ones: the first
    #: references, or the next while the feature has drifted
    known: list[Reading] = msgspec.field(default_factory=list)
    gathered: list[Reading] = msgspec.field(default_factory=list)
    #: one for each scale; none while learning
    references: list[Reference] = msgspec.field(default_factory=list)
    #: of each scale: the evidence, and the open block with the number of its slices
    evidence: list[float] = msgspec.field(default_factory=list)
    blocks: list[tuple[int, Reading]] = msgspec.field(default_factory=list)
    told: bool = False
    calm: int = 0


class Alarm(NamedTuple):
    """A feature drifted."""

    #: which of the scales showed it, and its evidence
    scale: int
    evidence: float
    #: counted in the block; slices of the reference, and what was counted in them
    n: int
    slices: int
    known: int
    contributors: tuple[Contributor, ...]


class Watch:
    """Takes the readings of one feature, slice by slice."""

    def __init__(
        self,
        state: WatchState,
        *,
        scales: Sequence[int],
        needed: Sequence[float],
        reference: int,
        slack: float,
        feature: str,
    ) -> None:
        self.state = state
        self._scales = scales
        self._needed = needed
        self._reference = reference
        self._slack = slack
        self._feature = feature

    def take(self, reading: Reading, topics: Mapping[str, str]) -> Alarm | None:
        """Take one slice; return the alarm that it led to, in whose words cells have these names."""
        if reading.n < LEAST:
            return None
        state = self.state
        state.seen += 1
        if not state.references:
            self._gather(reading)
        elif state.told:
            self._watch_for_the_end(reading)
        else:
            return self._watch(reading, topics)
        return None

    def _gather(self, reading: Reading) -> None:
        state = self.state
        state.gathered.append(reading)
        if len(state.gathered) >= self._reference:
            self._learn()

    def _learn(self) -> None:
        """Make the references from the newest slices, those of a drift that is over among them.

        So traffic that wanders teaches how far it wanders, and what has been told once is no news
        when it comes again.
        """
        state = self.state
        state.known = [*state.known, *state.gathered][-self._reference :]
        state.references = [
            fit(
                state.known,
                slices,
                ordered=FEATURES[self._feature].ordered,
                slack=self._slack,
            )
            for slices in self._scales
        ]
        self._begin()

    def _begin(self) -> None:
        """Watch, with no evidence yet."""
        state = self.state
        state.gathered = []
        state.told, state.calm = False, 0
        state.evidence = [0.0] * len(self._scales)
        state.blocks = [(0, Reading())] * len(self._scales)

    def _watch_for_the_end(self, reading: Reading) -> None:
        """After an alarm: either it passes, or it becomes what things are like now."""
        state = self.state
        state.calm = state.calm + 1 if judge(state.references[0], reading).p >= CALM_P else 0
        self._gather(reading)
        if state.told and state.calm >= self._scales[-1]:
            self._end_if_calm()

    def _end_if_calm(self) -> None:
        """Watch again if the newest slices, none of which surprises, do not do so together."""
        state = self.state
        block = Reading()
        for reading in state.gathered[-self._scales[-1] :]:
            block = block.merge(reading)
        if judge(state.references[-1], block).p >= CALM_P:
            self._learn()

    def _watch(self, reading: Reading, topics: Mapping[str, str]) -> Alarm | None:
        state = self.state
        for scale, slices in enumerate(self._scales):
            count, block = state.blocks[scale]
            count, block = count + 1, block.merge(reading)
            if count < slices:
                state.blocks[scale] = (count, block)
                continue
            # blocks do not overlap: each p-value is of slices that no earlier one has seen
            state.blocks[scale] = (0, Reading())
            reference = state.references[scale]
            judged = judge(reference, block)
            state.evidence[scale] = carry_on(state.evidence[scale], judged.p)
            if state.evidence[scale] >= self._needed[scale]:
                moved = contributors(self._feature, reference, judged, topics)
                return self._alarm(scale, block.n, moved)
        return None

    def _alarm(self, scale: int, n: int, moved: tuple[Contributor, ...]) -> Alarm:
        state = self.state
        evidence = state.evidence[scale]
        self._begin()
        state.told = True
        known = sum(reading.n for reading in state.known)
        return Alarm(scale, evidence, n, len(state.known), known, moved)
