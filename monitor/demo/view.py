"""What a viewer of the demo sees: the curve of disagreement, the state, and what happens."""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import ClassVar, Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from schemas.alerts import Notification

_BARS: Final = " ▁▂▃▄▅▆▇█"
#: points of the curve, and lines of what happened, that fit
_POINTS: Final = 60
_LINES: Final = 12
#: the top of the curve
_CEILING: Final = 0.5


class View:
    """A live display on a terminal; plain lines anywhere else.

    It is a channel too: notifications are shown among the events.
    """

    kind: ClassVar[str] = "demo"
    name = "demo"

    def __init__(self, console: Console, *, tickets: int, tolerance: float) -> None:
        self._console = console
        self._tickets = tickets
        self._tolerance = tolerance
        self._curve: deque[float] = deque(maxlen=_POINTS)
        self._lines: deque[Text] = deque(maxlen=_LINES)
        self._served = 0
        self._state = "opening the shop"
        self._live = Live(console=console, refresh_per_second=8, transient=True)

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
        """Add a line to what happened."""
        line = Text.assemble((f"{what:<10}", style or "bold"), " ", words)
        self._lines.append(line)
        if self._console.is_terminal:
            self._refresh()
        else:
            self._console.print(line, soft_wrap=True)

    def progress(self, served: int, state: str, disagreement: float | None) -> None:
        """Move on: customers served, what is going on, the recent disagreement."""
        self._served, self._state = served, state
        if disagreement is not None:
            self._curve.append(disagreement)
        self._refresh()

    def send(self, notification: Notification) -> None:
        """Show a notification as people would get it, in short."""
        condition = notification.condition
        style = {"page": "bold red", "warn": "yellow"}.get(condition.severity, "cyan")
        if notification.state == "resolved":
            style = "green"
        what = "ALERT" if notification.state == "firing" else "resolved"
        self.say(what, f"{condition.name}: {condition.summary}", style)

    def close(self) -> None:
        """Do nothing: the display ends with its block."""

    def _refresh(self) -> None:
        if self._live.is_started:
            self._live.update(self._page())

    def _page(self) -> RenderableType:
        head = Table.grid(padding=(0, 2))
        head.add_row("customers", f"{self._served:,} of {self._tickets:,}")
        head.add_row("now", self._state)
        head.add_row("disagreement", self._drawn())
        return Panel(Group(head, Text(), *self._lines), title="proctord: a shop in a box")

    def _drawn(self) -> Text:
        """The recent disagreement over time; red above what was accepted."""
        text = Text()
        for value in self._curve:
            height = min(len(_BARS) - 1, round(value / _CEILING * (len(_BARS) - 1)))
            text.append(_BARS[height], "red" if value > self._tolerance else "green")
        if self._curve:
            text.append(f" {self._curve[-1]:.1%}, {self._tolerance:.1%} accepted")
        return text
