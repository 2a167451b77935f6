"""Drift of one shop's traffic: slices, what was clean, and when it is no longer that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, Self

import msgspec

from monitor.detectors.finding import Finding
from monitor.drift.evidence import threshold
from monitor.drift.reading import FEATURES, Reading, readings
from monitor.drift.watch import Watch, WatchState
from monitor.drift.wording import Contributor, length, shifts
from monitor.estimation.wording import number
from schemas.windows import WindowSummary

#: Blocks of how many slices are judged: one slice for what breaks, seven for what creeps.
SCALES: Final = (1, 7)
#: The reference needs so many slices: below it the tails of its p-values are wrong.
LEAST_REFERENCE: Final = 60


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
        self._state = _State(tuple(map(float, msgspec.structs.astuple(settings))))
        self._needed = [
            threshold(
                per_year=settings.false_alarms_per_year,
                slice_seconds=settings.slice_seconds,
                slices=slices,
                watchers=len(FEATURES) * len(SCALES),
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
            for name in FEATURES
            if (watch := watches.get(name, WatchState())).references == []
        }

    @property
    def drifted(self) -> tuple[str, ...]:
        """Features that drifted and have not come back."""
        return tuple(name for name, watch in self._state.watches.items() if watch.told)

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
        state = self._state
        found = []
        for name, feature in FEATURES.items():
            reading = state.slice_.get(name, Reading())
            if not (feature.of_student and state.mixed):
                found.extend(self._judge(name, reading))
        state.slice_, state.mixed = {}, False
        return found

    def _judge(self, name: str, reading: Reading) -> list[DriftFinding]:
        watch = Watch(
            self._state.watches.setdefault(name, WatchState()),
            scales=SCALES,
            needed=self._needed,
            reference=self._settings.reference,
            slack=self._settings.slack,
            feature=name,
        )
        alarm = watch.take(reading)
        if alarm is None or self._state.start is None:
            return []
        slice_seconds = self._settings.slice_seconds
        end = self._state.start + slice_seconds
        slices = SCALES[alarm.scale]
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
                    f"({number(alarm.n)} in the newest {length(slices * slice_seconds)}, against "
                    f"{length(alarm.slices * slice_seconds)} before); at most {rate:g} such alarm"
                    f"{'' if rate == 1 else 's'} a year {'is' if rate == 1 else 'are'} expected "
                    "by chance"
                ),
                feature=name,
                at=end,
                since=end - slices * slice_seconds,
                contributors=alarm.contributors,
            )
        ]
