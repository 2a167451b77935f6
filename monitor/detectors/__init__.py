"""The detectors, and the table of their kinds.

`level` alone may page: it holds a tolerance and its false alarms are bounded for ever. `change`
warns early that disagreement rises, within the tolerance or not. These two take the scores of
windows. `adwin` and `page_hinkley` take numbers, and notice that *something* moved; they are
second opinions, told as `info`.

A change to the table: one file, one line in DETECTORS; the contract suite finds it there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from monitor.detectors.adwin import Adwin
from monitor.detectors.change import Change
from monitor.detectors.finding import Detector, Finding
from monitor.detectors.level import Level
from monitor.detectors.page_hinkley import PageHinkley
from schemas.errors import ConfigError

__all__ = ["DETECTORS", "SECOND_OPINIONS", "Detector", "Finding", "make", "restore"]

DETECTORS: Final[Mapping[str, type[Detector]]] = {
    "level": Level,
    "change": Change,
    "adwin": Adwin,
    "page_hinkley": PageHinkley,
}

#: Of numbers that come one by one, lie in [0, 1] already, and are so noisy that a small change
#: shows in thousands of them only.
_ONE_BY_ONE: Final[Mapping[str, Mapping[str, object]]] = {
    "adwin": {"warm_up": 0, "memory": 4000},
    "page_hinkley": {"allowance": 0.05, "threshold": 100, "memory": 4000},
}

#: Who watches which stream beside `level`. Disagreement comes label by label; gold is 1 where the
#: student was right by a person's word, and 0 where not, of the tickets drawn for people. The
#: others are means of windows: quiet, few, and in units that must be learned first.
SECOND_OPINIONS: Final[Mapping[str, Mapping[str, Mapping[str, object]]]] = {
    "disagreement": _ONE_BY_ONE,
    "gold": _ONE_BY_ONE,
    "confidence": {"adwin": {}, "page_hinkley": {}},
    "text_length": {"adwin": {}, "page_hinkley": {}},
    "latency_ms": {"adwin": {}, "page_hinkley": {}},
    "cost_usd": {"adwin": {}, "page_hinkley": {}},
}


def make(kind: str, settings: Mapping[str, object]) -> Detector:
    """Begin a generation of a kind of detector.

    Raises
    ------
    ConfigError: there is no such kind, or the settings are not its.

    >>> make("level", {"tolerance": 0.1}).n
    0
    """
    detector = _kind(kind)
    return detector(_settings(detector, settings))


def restore(kind: str, settings: Mapping[str, object], state: bytes) -> Detector:
    """Go on from a state that `Detector.state` gave.

    A state made under other settings belongs to another generation: the detector begins anew.

    Raises
    ------
    ConfigError: there is no such kind, or the settings are not its.
    msgspec.DecodeError: the state is not one of this kind's.
    """
    detector = _kind(kind)
    return detector.restore(_settings(detector, settings), state)


def _kind(kind: str) -> type[Detector]:
    if kind not in DETECTORS:
        known = ", ".join(DETECTORS)
        raise ConfigError(f"there is no detector {kind!r}", next_step=f"choose one of: {known}")
    return DETECTORS[kind]


def _settings(detector: type[Detector], settings: Mapping[str, object]) -> msgspec.Struct:
    try:
        return msgspec.convert(settings, detector.Settings)
    except msgspec.ValidationError as error:
        known = ", ".join(detector.Settings.__struct_fields__)
        raise ConfigError(
            f"settings of detector {detector.kind}: {error}", next_step=f"its settings: {known}"
        ) from error
