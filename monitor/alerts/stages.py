"""From conditions to changes of alerts, and which of them people are told of, with the reason.

The order of thought is Alertmanager's: identity, inhibition, waiting, deduplication, repetition.
`STAGES` lists them; the first stage that has an opinion decides. Nothing is hidden by silence:
an alert that people are not told of is in the journal all the same, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from monitor.alerts.figures import duration
from monitor.alerts.rules import BY_NAME, Rule
from schemas.alerts import Alert, AlertState, Condition, Notification

Kind = Literal["opened", "updated", "resolved"]

_RANK: Final = {"info": 0, "warn": 1, "page": 2}


class AlertSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How often and through which channels people are told."""

    #: names this proctord among several that report to the same people
    instance: str
    channels: tuple[str, ...]
    #: an alert that goes on is told again after this, seconds
    repeat_seconds: float = 4 * 3600.0


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one alert in one turn, to be written in one transaction.

    `opened`: insert the row (`alert_id` is 0) and its notifications. `updated`, `resolved`:
    replace the row with this `alert_id`.
    """

    kind: Kind
    alert: Alert
    #: why people are told of it now, or why they are not
    reason: str
    #: one for each channel; empty when nobody is told
    notifications: tuple[Notification, ...]


def reconcile(
    conditions: Sequence[Condition],
    alerts: Sequence[Alert],
    now: float,
    settings: AlertSettings,
    closing: Callable[[Condition], str],
) -> list[Change]:
    """Return what becomes of every alert, given what holds now.

    Parameters
    ----------
    conditions: what holds, as `rules.conditions` found it. Of two with one identity, the first.
    alerts: every alert that fires; and, so that news is told once, the momentary ones that were
        resolved as long ago as a condition may still carry them.
    now: seconds UTC.
    closing: says what ended a condition that holds no longer: the last summary of its alert.

    The result holds one change for each condition that is no old news and for each firing alert
    that is over. Given the same arguments it is the same; called again after its changes were
    written, it tells nobody anything twice before `repeat_seconds` have passed.

    >>> condition = Condition(name="EventsStale", severity="warn", since=0.0,
    ...                       summary="", proctord_does="", you_do="")
    >>> settings = AlertSettings(instance="shop", channels=("stdout",))
    >>> closing = lambda condition: "an event has come"
    >>> [opened] = reconcile([condition], [], 10.0, settings, closing)
    >>> opened.kind, opened.reason, len(opened.notifications)
    ('opened', 'new', 1)
    >>> [again] = reconcile([condition], [opened.alert], 70.0, settings, closing)
    >>> again.kind, again.reason
    ('updated', 'told 1 min ago; repeated after 4 h')
    >>> [ended] = reconcile([], [again.alert], 190.0, settings, closing)
    >>> ended.kind, ended.alert.condition.summary
    ('resolved', 'an event has come')
    """
    known = {alert.dedup_key: alert for alert in alerts}
    holding: dict[str, Condition] = {}
    for condition in conditions:
        holding.setdefault(condition.dedup_key(settings.instance), condition)
    kept = [a for a in alerts if a.state == "firing" and _is_kept(a, holding, now)]
    sitting = _Sitting(now, settings, (*holding.values(), *(a.condition for a in kept)))
    changes = [
        _conclude(_seen(key, condition, known.get(key), now), sitting)
        for key, condition in holding.items()
        if not (condition.momentary and key in known)
    ]
    over = [
        alert
        for alert in alerts
        if alert.state == "firing" and alert.dedup_key not in holding and alert not in kept
    ]
    return changes + [_conclude(_gone(alert, closing, now), sitting) for alert in over]


# --- identity: which row a condition is ------------------------------------------------------


class _Case(NamedTuple):
    """An alert as it stands after this turn, before anybody is told."""

    kind: Kind
    alert: Alert
    rule: Rule


class _Sitting(NamedTuple):
    """What all cases of one turn share."""

    now: float
    settings: AlertSettings
    #: what holds now, and what is kept up because it was gone for too short a time
    holding: tuple[Condition, ...]


def _rule(condition: Condition) -> Rule:
    """The alert's rule; one without demands for an alert that a newer proctord no longer knows."""
    return BY_NAME.get(condition.name) or Rule(condition.name, lambda _situation: (), ())


def _is_kept(alert: Alert, holding: dict[str, Condition], now: float) -> bool:
    """Whether a condition that is gone was here so lately that it may come back."""
    gone_for = now - alert.updated_at
    return alert.dedup_key not in holding and gone_for < _rule(alert.condition).keep


def _seen(key: str, condition: Condition, before: Alert | None, now: float) -> _Case:
    rule = _rule(condition)
    if before is not None and before.state == "firing":
        after = msgspec.structs.replace(before, condition=condition, updated_at=now)
        return _Case("updated", after, rule)
    opened = Alert(
        alert_id=0,
        dedup_key=key,
        condition=condition,
        state="resolved" if condition.momentary else "firing",
        started_at=now,
        ended_at=now if condition.momentary else None,
        updated_at=now,
    )
    return _Case("opened", opened, rule)


def _gone(alert: Alert, closing: Callable[[Condition], str], now: float) -> _Case:
    condition = msgspec.structs.replace(alert.condition, summary=closing(alert.condition))
    over = msgspec.structs.replace(
        alert, condition=condition, state="resolved", ended_at=now, updated_at=now
    )
    return _Case("resolved", over, _rule(condition))


# --- stages: what people are told ------------------------------------------------------------


class _Word(NamedTuple):
    """A stage's opinion."""

    tell: bool
    reason: str


_Stage = Callable[[_Case, _Sitting], _Word | None]


def _nobody_listens(_case: _Case, sitting: _Sitting) -> _Word | None:
    return None if sitting.settings.channels else _Word(False, "no channel is configured")


def _ended(case: _Case, _sitting: _Sitting) -> _Word | None:
    """Told of what they know only: a resolved notice without an alert before it is a riddle."""
    if case.kind != "resolved":
        return None
    return _Word(True, "over") if case.alert.told else _Word(False, "over before anybody was told")


def _news(case: _Case, _sitting: _Sitting) -> _Word | None:
    return _Word(True, "news") if case.alert.condition.momentary else None


def _inhibited(case: _Case, sitting: _Sitting) -> _Word | None:
    """Muted by a greater alert whose labels are equal; a missing label counts as empty."""
    mine = case.alert.condition.labels
    for other in sitting.holding:
        if other.name == case.rule.muted_by and all(
            mine.get(label, "") == other.labels.get(label, "") for label in case.rule.equal
        ):
            return _Word(False, f"muted by {other.name}")
    return None


def _settling(case: _Case, sitting: _Sitting) -> _Word | None:
    age = sitting.now - case.alert.started_at
    if case.alert.told or age >= case.rule.hold:
        return None
    return _Word(False, f"seen for {duration(age)}; told after {duration(case.rule.hold)}")


def _first(case: _Case, _sitting: _Sitting) -> _Word | None:
    return None if case.alert.told else _Word(True, "new")


def _worse(case: _Case, _sitting: _Sitting) -> _Word | None:
    """Who was told of a warning must hear of the page now, not in four hours."""
    now, told = case.alert.condition.severity, case.alert.told_severity
    if told is None or _RANK[now] <= _RANK[told]:
        return None
    return _Word(True, f"rose from {told} to {now}")


def _repeated(case: _Case, sitting: _Sitting) -> _Word | None:
    told_at = case.alert.told_at
    silence = sitting.now - (case.alert.started_at if told_at is None else told_at)
    repeat = sitting.settings.repeat_seconds
    if silence >= repeat:
        return _Word(True, f"goes on; last told {duration(silence)} ago")
    return _Word(False, f"told {duration(silence)} ago; repeated after {duration(repeat)}")


#: The order matters. `_ended` stands before `_inhibited`: what was told must be called off even
#: while it is muted, or an incident stays open for ever at the other end. `_worse` stands before
#: `_repeated`, which has an opinion on everything that reaches it.
STAGES: Final[tuple[_Stage, ...]] = (
    _nobody_listens,
    _ended,
    _news,
    _inhibited,
    _settling,
    _first,
    _worse,
    _repeated,
)


def _conclude(case: _Case, sitting: _Sitting) -> Change:
    opinions = (stage(case, sitting) for stage in STAGES)
    word = next(opinion for opinion in opinions if opinion is not None)
    alert = msgspec.structs.replace(case.alert, reason=word.reason)
    if not word.tell:
        return Change(kind=case.kind, alert=alert, reason=word.reason, notifications=())
    told = msgspec.structs.replace(
        alert,
        told=alert.told + 1,
        told_at=sitting.now,
        told_severity=alert.condition.severity,
    )
    notifications = tuple(
        _notification(alert, case.rule, channel, sitting.settings)
        for channel in _channels(alert.condition, sitting.settings)
    )
    return Change(kind=case.kind, alert=told, reason=word.reason, notifications=notifications)


def _channels(condition: Condition, settings: AlertSettings) -> tuple[str, ...]:
    """Every channel; but that one fails is told through the others, where there are any."""
    failing = condition.labels.get("channel", "")
    others = tuple(c for c in settings.channels if c != failing)
    return others if condition.name == "NotificationsFailing" and others else settings.channels


def _notification(alert: Alert, rule: Rule, channel: str, settings: AlertSettings) -> Notification:
    # news is over as soon as it is told; calling it resolved would hide that it happened
    state: AlertState = "firing" if alert.condition.momentary else alert.state
    key = f"{alert.dedup_key}:{alert.started_at:.3f}:{state}:{alert.told}:{channel}"
    return Notification(
        instance=settings.instance,
        dedup_key=alert.dedup_key,
        state=state,
        condition=alert.condition,
        started_at=alert.started_at,
        ended_at=alert.ended_at,
        commands=rule.commands,
        channel=channel,
        idempotency_key=key,
    )
