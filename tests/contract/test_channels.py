"""What every channel must do, whichever it is."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import msgspec
import pytest

from monitor.alerts.channels import CHANNELS, Channel, StdoutChannel, WebhookChannel
from schemas.alerts import Condition, Notification
from schemas.errors import DeliveryError

SECRET = "kq7-signing-secret"
LOOPBACK = ("127.0.0.0/8",)

FIRING = Notification(
    instance="shop",
    dedup_key="0123456789abcdef0123456789abcdef",
    state="firing",
    condition=Condition(
        name="QualityOutOfBounds",
        severity="page",
        labels={"segment": "language=de"},
        since=1_700_000_000.0,
        summary="disagreement 18.2 %",
        proctord_does="Retrains.",
        you_do="Wait.",
    ),
    started_at=1_700_000_060.0,
    ended_at=None,
    commands=("proctord status",),
    channel="it",
    idempotency_key="0123:1:firing:0:it",
)
RESOLVED = msgspec.structs.replace(FIRING, state="resolved", ended_at=1_700_007_200.0)
NEWS = msgspec.structs.replace(
    FIRING,
    condition=msgspec.structs.replace(FIRING.condition, name="StudentPromoted", momentary=True),
    ended_at=1_700_000_060.0,
)
STRANGE = msgspec.structs.replace(
    FIRING,
    condition=msgspec.structs.replace(
        FIRING.condition,
        labels={"segment": 'x="\x1b[2J\u202e\udc80\\n\n'},
        summary="Größe 42, größer? \U0001f45f \x00 " * 200,
    ),
)


class Place(NamedTuple):
    """A channel, and what has arrived at its other end."""

    channel: Channel
    received: Callable[[], list[str]]


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.server.bodies.append(self.rfile.read(length).decode())  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def stdout() -> Iterator[Place]:
    stream = io.StringIO()
    yield Place(StdoutChannel("it", stream), lambda: stream.getvalue().split("\n\n")[:-1])


def webhook() -> Iterator[Place]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
    server.bodies = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/hook"
    channel = WebhookChannel("it", url, secret=SECRET, allow=LOOPBACK)
    yield Place(channel, lambda: server.bodies)  # type: ignore[attr-defined]
    server.shutdown()
    thread.join()
    server.server_close()


def broken_stdout() -> Channel:
    stream = io.StringIO()
    stream.close()
    return StdoutChannel("it", stream)


def broken_webhook() -> Channel:
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        port = nobody_listens.getsockname()[1]
    return WebhookChannel(
        "it", f"http://127.0.0.1:{port}/T0/kq7-path", secret=SECRET, allow=LOOPBACK
    )


PLACES = {"stdout": stdout, "webhook": webhook}
BROKEN = {"stdout": broken_stdout, "webhook": broken_webhook}


@pytest.fixture(params=sorted(CHANNELS))
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    yield from PLACES[request.param]()


@pytest.fixture(params=sorted(CHANNELS))
def broken(request: pytest.FixtureRequest) -> Iterator[Channel]:
    channel = BROKEN[request.param]()
    yield channel
    channel.close()


def test_the_table_knows_each_channel_by_its_kind(place: Place) -> None:
    assert CHANNELS[place.channel.kind] is type(place.channel)
    assert place.channel.name == "it"


@pytest.mark.parametrize("notification", [FIRING, RESOLVED, NEWS, STRANGE])
def test_each_notification_arrives_once_before_send_returns(
    place: Place, notification: Notification
) -> None:
    place.channel.send(notification)
    [text] = place.received()
    assert notification.condition.name in text
    assert notification.dedup_key[:16] in text


def test_what_arrives_says_what_who_and_what_now(place: Place) -> None:
    place.channel.send(FIRING)
    [text] = place.received()
    for part in ("disagreement 18.2 %", "language=de", "Retrains.", "Wait.", "proctord status"):
        assert part in text


def test_no_control_character_arrives(place: Place) -> None:
    place.channel.send(STRANGE)
    [text] = place.received()
    assert not {"\x1b", "\x00", "\u202e", "\udc80"} & set(text)
    assert not any(escape in text for escape in ("\\u001b", "\\u0000", "\\u202e"))


def test_several_arrive_in_order(place: Place) -> None:
    for notification in (FIRING, FIRING, RESOLVED):
        place.channel.send(notification)
    texts = place.received()
    assert len(texts) == 3
    assert texts[0] == texts[1] != texts[2]


def test_a_channel_can_be_closed_twice(place: Place) -> None:
    place.channel.send(FIRING)
    place.channel.close()
    place.channel.close()


def test_what_did_not_arrive_is_an_error_that_says_if_trying_again_helps(broken: Channel) -> None:
    with pytest.raises(DeliveryError) as caught:
        broken.send(FIRING)
    assert caught.value.retryable
    assert "channel it" in str(caught.value)


def test_an_error_holds_neither_secrets_nor_what_was_said(broken: Channel) -> None:
    with pytest.raises(DeliveryError) as caught:
        broken.send(FIRING)
    seen = f"{caught.value} {caught.value!r} {broken!r} {caught.value.__cause__!r}"
    assert "kq7" not in seen
    assert "disagreement" not in seen


def test_a_channel_that_failed_may_be_tried_again(broken: Channel) -> None:
    for _ in range(3):
        with pytest.raises(DeliveryError):
            broken.send(FIRING)
