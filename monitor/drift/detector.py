"""Drift of one shop's traffic: slices, what was clean, and when it is no longer that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Final, Self

import msgspec

from monitor.detectors.finding import Finding
from monitor.drift.evidence import threshold
from monitor.drift.reading import EMBEDDED, FEATURES, Reading, readings
from monitor.drift.settings import DriftSettings
from monitor.drift.topics import EmbeddedSlice
from monitor.drift.watch import LEAST, Alarm, Watch, WatchState
from monitor.drift.wording import Contributor, length, shifts
from monitor.estimation.wording import number
from schemas.windows import WindowSummary

#: Blocks of how many slices are judged: one slice for what breaks, seven for what creeps.
SCALES: Final = (1, 7)


class DriftFinding(Finding, frozen=True, kw_only=True):
    """A feature of the traffic is not as it was."""

    feature: str
    #: end of the slice in which it was found, and start of the block that showed it
    at: float
    since: float
    #: what moved most, first
    contributors: tuple[Contributor, ...] = ()


class _State(msgspec.Struct, array_like=True):
    settings: tuple[float, ...]
    #: start of the open slice; None before the first window
    start: float | None = None
    #: the student whose answers are read, and whether another answered in the open slice too
    model: str = ""
    mixed: bool = False
    late: int = 0
    slice_: dict[str, Reading] = msgspec.field(default_factory=dict)
    watches: dict[str, WatchState] = msgspec.field(default_factory=dict)
    #: the map that embedded slices were counted by, the end of the newest of them, what of them is
    #: too little to be judged yet, and the starts of what it and the newest judged ones began with
    topic_map: str = ""
    embedded_until: float | None = None
    embedded: dict[str, Reading] = msgspec.field(default_factory=dict)
    embedded_starts: list[float] = msgspec.field(default_factory=list)


class Drift:
    """Watches the features of all traffic for a change against the time before.

    Takes the summaries of closed windows, of all traffic and of its segments, merged over shards,
    in order of time. They are put together into slices; the first of them become the reference;
    each later slice, and each block of seven, is judged against it. A feature that drifted is
    told once. It is watched again when seven slices in a row look as before, each and together, or
    when the new state of things has lasted long enough to be the reference.

    Guarantee: a mean time between false alarms of at least 1 / `false_alarms_per_year` years,
    over all features, while clean slices are exchangeable with those of the reference.

    Assumption: that is approximate, because the reference is estimated from some dozens of
    slices. Traffic with a season longer than the reference will be told of the season.

    Source: Shin, Ramdas & Rinaldo (2022) for the evidence; `drift.reference` for the p-values.

    >>> def day(i, refunds):
    ...     classes = {"refund": refunds + i % 5, "fees": 200 - refunds - i % 5}
    ...     return WindowSummary(segment="*", start=i * 86_400.0, length=86_400.0, classes=classes)
    >>> drift = Drift(DriftSettings(slice_seconds=86_400.0, reference=60))
    >>> drift.update([day(i, 20) for i in range(80)], model="m1")
    []
    >>> (found,) = drift.update([day(i, 45) for i in range(80, 90)], model="m1")
    >>> found.feature, found.at / 86_400.0, found.severity
    ('classes', 81.0, 'warn')
    >>> print(found.sentence)  # doctest: +NORMALIZE_WHITESPACE
    drift of classes: `refund` 11.0 % -> 22.5 %, `fees` 89.0 % -> 77.5 % (200 in the newest
    1 d, against 60 d before); at most 1 such alarm a year is expected by chance
    """

    kind: ClassVar[str] = "drift"

    def __init__(self, settings: DriftSettings) -> None:
        self._settings = settings
        self._state = _State(tuple(map(float, settings.judged_by)))
        self._needed = [
            threshold(
                per_year=settings.false_alarms_per_year,
                slice_seconds=settings.slice_seconds,
                slices=slices,
                watchers=len(settings.features) * len(SCALES),
            )
            for slices in SCALES
        ]

    @classmethod
    def restore(cls, settings: DriftSettings, state: bytes) -> Self:
        """Go on from a state; from the beginning when it was made under other settings.

        Raises
        ------
        msgspec.DecodeError: the state is not one of ours.
        """
        drift = cls(settings)
        found = msgspec.json.decode(state, type=_State)
        if found.settings == drift._state.settings:
            drift._state = found
        return drift

    def state(self) -> bytes:
        """Return everything that the future depends on, as JSON."""
        return msgspec.json.encode(self._state)

    @property
    def model(self) -> str:
        """The student whose answers are watched; "" before the first window."""
        return self._state.model

    @property
    def open_since(self) -> float | None:
        """Start of the slice that is not judged yet, seconds UTC; None before the first window."""
        return self._state.start

    @property
    def late(self) -> int:
        """Windows that came after their slice was judged, and were left out."""
        return self._state.late

    @property
    def learning(self) -> dict[str, int]:
        """Slices still missing until a feature is watched, by feature; only those not watched."""
        watches = self._state.watches
        return {
            name: self._settings.reference - len(watch.gathered)
            for name in self._settings.features
            if (watch := watches.get(name, WatchState())).references == []
        }

    @property
    def drifted(self) -> tuple[str, ...]:
        """Features that drifted and have not come back."""
        watches = self._state.watches
        return tuple(
            name for name in self._settings.features if name in watches and watches[name].told
        )

    @property
    def topic_map(self) -> str:
        """The map that the newest embedded slice was counted by; "" before the first."""
        return self._state.topic_map

    @property
    def embedded_until(self) -> float | None:
        """End of the newest embedded slice that was taken; None before the first."""
        return self._state.embedded_until

    def update(self, windows: Sequence[WindowSummary], *, model: str) -> list[DriftFinding]:
        """Take closed windows in order of their start; return what drifted.

        Parameters
        ----------
        windows: of `*` and of the segments, merged over shards.
        model: the student that serves. Features of its answers begin anew with a new one, those
            of the traffic go on.
        """
        if model != self._state.model:
            self._new_student(model)
        found: list[DriftFinding] = []
        for window in windows:
            start = window.start // self._settings.slice_seconds * self._settings.slice_seconds
            if self._state.start is not None and start > self._state.start:
                found.extend(self._close())
            if self._state.start is None or start > self._state.start:
                self._state.start = start
            if start < self._state.start:
                self._state.late += 1
            else:
                self._add(window)
        return found

    def read(
        self, slices: Sequence[EmbeddedSlice], topics: Mapping[str, str]
    ) -> list[DriftFinding]:
        """Take what sampled tickets of slices are about, in order of time; return what drifted.

        They need not keep step with the windows: a model takes its time, and nothing waits for it.
        Slices of few texts are put together until they say something.

        Parameters
        ----------
        topics: what to call the cells of the map that they were counted by. With another map its
            features begin anew.
        """
        found: list[DriftFinding] = []
        for one in slices:
            if one.topic_map != self._state.topic_map:
                self._new_map(one.topic_map)
            self._gather(one)
            if self._state.embedded["topics"].n >= LEAST:
                found.extend(self._close_embedded(topics))
        return found

    def _new_map(self, name: str) -> None:
        state = self._state
        state.topic_map, state.embedded, state.embedded_starts = name, {}, []
        for feature in EMBEDDED:
            state.watches.pop(feature, None)

    def _gather(self, one: EmbeddedSlice) -> None:
        state = self._state
        if not state.embedded:
            state.embedded_starts = [*state.embedded_starts[1 - SCALES[-1] :], one.start]
        for name in EMBEDDED:
            known = state.embedded.get(name, Reading())
            state.embedded[name] = known.merge(one.readings[name])
        state.embedded_until = one.start + self._settings.slice_seconds

    def _close_embedded(self, topics: Mapping[str, str]) -> list[DriftFinding]:
        """Judge what was gathered and begin anew."""
        state = self._state
        assert state.embedded_until is not None
        times = (*state.embedded_starts, state.embedded_until)
        found = [
            finding
            for name, reading in state.embedded.items()
            for finding in self._judge(name, reading, times, topics)
        ]
        state.embedded = {}
        return found

    def _new_student(self, model: str) -> None:
        state = self._state
        # the open slice holds answers of both: it belongs to neither
        state.mixed = state.start is not None
        state.model = model
        for name, feature in FEATURES.items():
            if feature.of_student:
                state.watches.pop(name, None)

    def _add(self, window: WindowSummary) -> None:
        slice_ = self._state.slice_
        for name, reading in readings(window).items():
            known = slice_.get(name)
            slice_[name] = reading if known is None else known.merge(reading)

    def _close(self) -> list[DriftFinding]:
        """Judge the open slice and begin another."""
        state, slice_seconds = self._state, self._settings.slice_seconds
        assert state.start is not None
        times = [state.start - slice_seconds * back for back in range(SCALES[-1] - 1, -2, -1)]
        found = []
        for name, feature in FEATURES.items():
            reading = state.slice_.get(name, Reading())
            if feature.read and not (feature.of_student and state.mixed):
                found.extend(self._judge(name, reading, times))
        state.slice_, state.mixed = {}, False
        return found

    def _judge(
        self,
        name: str,
        reading: Reading,
        times: Sequence[float],
        topics: Mapping[str, str] = MappingProxyType({}),
    ) -> list[DriftFinding]:
        """Judge one slice; `times` are the starts of the newest slices, and the end of the last."""
        watch = Watch(
            self._state.watches.setdefault(name, WatchState()),
            scales=SCALES,
            needed=self._needed,
            reference=self._settings.reference,
            slack=self._settings.slack,
            feature=name,
        )
        alarm = watch.take(reading, topics)
        if alarm is None:
            return []
        since, end = times[-1 - SCALES[alarm.scale]], times[-1]
        rate = self._settings.false_alarms_per_year
        return [
            DriftFinding(
                severity="warn",
                statistic=alarm.evidence,
                threshold=self._needed[alarm.scale],
                n=watch.state.seen,
                interval=None,
                sentence=(
                    f"drift of {name}: {shifts(name, alarm.contributors)} "
                    f"({number(alarm.n)} in the newest {length(end - since)}, against "
                    f"{self._before(name, alarm)} before); at most {rate:g} such alarm"
                    f"{'' if rate == 1 else 's'} a year {'is' if rate == 1 else 'are'} expected "
                    "by chance"
                ),
                feature=name,
                at=end,
                since=since,
                contributors=alarm.contributors,
            )
        ]

    def _before(self, name: str, alarm: Alarm) -> str:
        """Say what the newest slices are held against."""
        if name in EMBEDDED:
            return f"{number(alarm.known)} sampled"
        return length(alarm.slices * self._settings.slice_seconds)
