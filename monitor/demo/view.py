"""What a viewer of the demo sees: what happens, line by line, and below it how things stand."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import ClassVar, Final, Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from monitor.alerts.figures import duration, plain
from monitor.demo.curve import Curve
from monitor.estimation.wording import percent
from schemas.alerts import Notification
from schemas.signals import Severity

#: what a line begins with, filled up to one width
_MARGIN: Final = 10
#: characters of a long text that are shown, from its beginning and from its end
_HEAD, _TAIL = 170, 120
#: columns of the curve, and of the display beside it: borders, titles, the newest figure
_WIDEST: Final = 60
_BESIDE: Final = 43

#: how a notification is told, by its severity
_SAID: Final[Mapping[Severity, tuple[str, str]]] = {
    "page": ("ALERT", "bold red"),
    "warn": ("ALERT", "yellow"),
    "info": ("news", "cyan"),
}


class View:
    """A live display below the story on a terminal; the story alone anywhere else.

    What happened scrolls by like any log and stays readable; only the display below it, whose
    height never changes, is drawn anew.

    It is a channel too: notifications are part of the story.
    """

    kind: ClassVar[str] = "demo"
    name = "demo"

    def __init__(self, console: Console, *, tickets: int, tolerance: float) -> None:
        self._console = console
        self._tickets = tickets
        self._tolerance = tolerance
        self._curve = Curve(tickets, tolerance)
        self._served = 0
        self._state = "opening the shop"
        self._heard: list[Notification] = []
        self._waiting_since: float | None = None
        self._live = Live(console=console, refresh_per_second=8)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def say(self, what: str, words: str, style: str = "") -> None:
        """Add a line to the story."""
        margin = Text(f"{what:<{_MARGIN}} ", style or "bold")
        text = plain(words)
        if not self._console.is_terminal:
            # a file, or a program, has room for all of it
            self._console.print(margin + Text(text), soft_wrap=True)
            return
        line = Table.grid(expand=True)
        line.add_column(no_wrap=True)
        line.add_column(ratio=1, overflow="fold")
        line.add_row(margin, Text(_in_short(text)))
        self._console.print(line)

    def progress(self, served: int, state: str, disagreement: float | None) -> None:
        """Move on: customers served, what is going on, the recent disagreement."""
        self._served, self._state, self._waiting_since = served, state, None
        if disagreement is not None:
            self._curve.add(served, disagreement)
        self._refresh()

    def wait(self, state: str) -> None:
        """Show that the story stands still, for what, and how long it has."""
        if self._waiting_since is None or state != self._state:
            self._state, self._waiting_since = state, time.monotonic()
        self._refresh()

    def send(self, notification: Notification) -> None:
        """Keep a notification until the story comes to it."""
        self._heard.append(notification)

    def notify(self) -> None:
        """Tell the notifications as people get them, in short."""
        for notification in self._heard:
            condition = notification.condition
            if notification.state == "resolved":
                labels = ", ".join(f"{name} {value}" for name, value in condition.labels.items())
                words = f"{condition.name} ({labels}): {condition.summary}"
                self.say("resolved", words, "green")
            else:
                what, style = _SAID[condition.severity]
                self.say(what, f"{condition.name}: {condition.summary}", style)
        self._heard.clear()

    def close(self) -> None:
        """Do nothing: the display ends with its block."""

    def _refresh(self) -> None:
        if self._live.is_started:
            self._live.update(self._display())

    def _display(self) -> RenderableType:
        rows = Table.grid(padding=(0, 2))
        rows.add_column(no_wrap=True)
        rows.add_column(no_wrap=True, overflow="ellipsis")
        rows.add_row("customers", f"{self._served:,} of at most {self._tickets:,}")
        rows.add_row("now", f"{self._state}{self._waited()}")
        rows.add_row("disagreement", self._drawn())
        return Panel(rows, title="proctord: a shop in a box")

    def _waited(self) -> str:
        if self._waiting_since is None:
            return ""
        return f", for {duration(time.monotonic() - self._waiting_since)}"

    def _drawn(self) -> Text:
        text = self._curve.drawn(min(_WIDEST, max(10, self._console.width - _BESIDE)))
        newest = self._curve.newest
        if newest is not None:
            text.append(f" {percent(newest)}, accepted {percent(self._tolerance)}")
        return text


def _in_short(words: str) -> str:
    """Return a text without its middle where it is long: what it came to stands at its end."""
    if len(words) <= _HEAD + _TAIL:
        return words
    # at a space on both sides: half a number is another number
    head, _, _ = words[: _HEAD + 1].rpartition(" ")
    _, _, tail = words[-_TAIL - 1 :].partition(" ")
    return f"{head} … {tail}"
