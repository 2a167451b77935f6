"""A notification in words: for a terminal of 80 columns, and as labels and annotations."""

from __future__ import annotations

import textwrap

from monitor.alerts.figures import duration, plain, utc
from schemas.alerts import Notification

WIDTH = 80
_INDENT = " " * 10


def render(notification: Notification) -> str:
    """Return the notification as lines of at most `WIDTH` columns, without a trailing newline.

    A single word that is longer than a line (an identity, a command) is not broken.

    >>> from schemas.alerts import Condition
    >>> print(render(Notification(
    ...     instance="shop", dedup_key="3f2a", state="firing", started_at=60.0, ended_at=None,
    ...     commands=("proctord status",),
    ...     condition=Condition(
    ...         name="EventsStale", severity="warn", since=0.0, summary="no event has come",
    ...         proctord_does="Waits.", you_do="Look."))))
    [warn] EventsStale firing at shop
      what    no event has come
      since   1970-01-01 00:00:00 UTC
      we do   Waits.
      you do  Look.
      paste   proctord status
      more    RUNBOOK.md, EventsStale
      alert   3f2a
    """
    lines = [_headline(notification), *(_row(k, v) for k, v in _rows(notification))]
    lines += [_command(i, c) for i, c in enumerate(notification.commands)]
    lines += [
        _row("more", f"RUNBOOK.md, {notification.condition.name}"),
        *_judged_by(notification),
        _row("alert", notification.dedup_key),
    ]
    return "\n".join(lines)


def labels_of(notification: Notification) -> dict[str, str]:
    """Return what identifies the alert, and its severity; values are made safe to print."""
    condition = notification.condition
    return {
        "alertname": condition.name,
        "instance": plain(notification.instance),
        "severity": condition.severity,
        **{name: plain(value) for name, value in sorted(condition.labels.items())},
    }


def annotations_of(notification: Notification) -> dict[str, str]:
    """Return what describes the alert; `description` is the whole text."""
    condition = notification.condition
    return {
        "summary": plain(condition.summary),
        "description": render(notification),
        "proctord_does": plain(condition.proctord_does),
        "you_do": plain(condition.you_do),
        "commands": "\n".join(notification.commands),
        "runbook": f"RUNBOOK.md, {condition.name}",
        "contract": condition.contract,
    }


def _headline(notification: Notification) -> str:
    condition = notification.condition
    state = "" if condition.momentary else f" {notification.state}"
    where = "".join(f" {k}={plain(v, 60)}" for k, v in sorted(condition.labels.items()))
    words = f"{condition.name}{state} at {plain(notification.instance, 60)}{where}"
    return textwrap.fill(f"[{condition.severity}] {words}", WIDTH, subsequent_indent=_INDENT)


def _rows(notification: Notification) -> list[tuple[str, str]]:
    condition = notification.condition
    what = ("what" if notification.state == "firing" else "now", condition.summary)
    since = ("at" if condition.momentary else "since", utc(condition.since))
    if notification.state == "resolved" and notification.ended_at is not None:
        lasted = duration(notification.ended_at - condition.since)
        return [what, since, ("over", f"{utc(notification.ended_at)}, after {lasted}")]
    return [what, since, ("we do", condition.proctord_does), ("you do", condition.you_do)]


def _judged_by(notification: Notification) -> list[str]:
    contract = notification.condition.contract
    return [_row("by", f"contract {contract}")] if contract else []


def _row(title: str, words: str) -> str:
    return textwrap.fill(
        plain(words),
        WIDTH,
        initial_indent=f"  {title:<8}",
        subsequent_indent=_INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _command(index: int, command: str) -> str:
    # never wrapped: it is there to be pasted
    return f"  {'paste' if index == 0 else '':<8}{command}"
