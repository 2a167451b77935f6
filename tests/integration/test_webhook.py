"""The webhook against a real receiver on loopback that answers, lies, drips and redirects.

Long because a receiver on the open net has so many ways to misbehave.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from monitor.alerts.channels.outward import may_connect
from monitor.alerts.channels.webhook import WebhookChannel
from schemas.alerts import Condition, Notification
from schemas.errors import ConfigError, DeliveryError

LOOPBACK = ("127.0.0.0/8", "::1/128")
NOTIFICATION = Notification(
    instance="shop",
    dedup_key="0123456789abcdef0123456789abcdef",
    state="firing",
    condition=Condition(
        name="QualityOutOfBounds",
        severity="page",
        labels={"lane": "intents", "segment": "language=de"},
        since=1_700_000_000.0,
        summary="disagreement 18.2 %",
        proctord_does="Retrains.",
        you_do="Wait.",
    ),
    started_at=1_700_000_060.25,
    ended_at=None,
    commands=("proctord status",),
    idempotency_key="k:1:firing:0:pager",
)

_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_RFC3339 = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"
#: the body as Alertmanager documents it for `webhook_config`, version 4
V4 = {
    "type": "object",
    "additionalProperties": False,
    "required": [
        "version",
        "groupKey",
        "truncatedAlerts",
        "status",
        "receiver",
        "groupLabels",
        "commonLabels",
        "commonAnnotations",
        "externalURL",
        "alerts",
    ],
    "properties": {
        "version": {"const": "4"},
        "groupKey": {"type": "string", "minLength": 1},
        "truncatedAlerts": {"type": "integer", "minimum": 0},
        "status": {"enum": ["firing", "resolved"]},
        "receiver": {"type": "string"},
        "groupLabels": _TEXTS,
        "commonLabels": _TEXTS,
        "commonAnnotations": _TEXTS,
        "externalURL": {"type": "string"},
        "alerts": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": [
                    "status",
                    "labels",
                    "annotations",
                    "startsAt",
                    "endsAt",
                    "generatorURL",
                    "fingerprint",
                ],
                "properties": {
                    "status": {"enum": ["firing", "resolved"]},
                    "labels": {**_TEXTS, "required": ["alertname"]},
                    "annotations": _TEXTS,
                    "startsAt": {"type": "string", "pattern": _RFC3339},
                    "endsAt": {"type": "string", "pattern": _RFC3339},
                    "generatorURL": {"type": "string"},
                    "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
                },
            },
        },
    },
}


class Receiver:
    """A server of raw bytes: what it says back is up to the test."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.say: Callable[[socket.socket], None] = lambda peer: peer.sendall(answer(200))
        self.wrap: Callable[[socket.socket], socket.socket] = lambda peer: peer
        self.connections = 0
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self._socket = socket.create_server((host, 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            with peer, contextlib.suppress(OSError), self.wrap(peer) as wrapped:
                self.requests.append(_request(wrapped))
                self.say(wrapped)

    def stop(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


def _request(peer: socket.socket) -> tuple[str, dict[str, str], bytes]:
    with peer.makefile("rb") as stream:
        line = stream.readline().decode()
        headers = {}
        while (header := stream.readline().strip()) != b"":
            name, _, value = header.decode().partition(":")
            headers[name.lower()] = value.strip()
        return line, headers, stream.read(int(headers.get("content-length", "0")))


def answer(status: int, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", "Content-Length: 0"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.stop()


@pytest.fixture
def channel(receiver: Receiver) -> Iterator[WebhookChannel]:
    url = f"http://127.0.0.1:{receiver.port}/hook/s3cret?x=1"
    channel = WebhookChannel(
        "pager", url, secret="key", allow=LOOPBACK, external_url="https://p.example"
    )
    yield channel
    channel.close()


def failure(channel: WebhookChannel) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        channel.send(NOTIFICATION)
    assert "s3cret" not in f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"
    return caught.value


# --- the body --------------------------------------------------------------------------------


def sent(receiver: Receiver, channel: WebhookChannel, notification: Notification) -> Any:
    channel.send(notification)
    body = json.loads(receiver.requests[-1][2])
    jsonschema.validate(body, V4)
    return body


def test_a_firing_alert_is_a_group_of_one(receiver: Receiver, channel: WebhookChannel) -> None:
    body = sent(receiver, channel, NOTIFICATION)
    labels = {
        "alertname": "QualityOutOfBounds",
        "instance": "shop",
        "severity": "page",
        "lane": "intents",
        "segment": "language=de",
    }
    assert (body["status"], body["receiver"]) == ("firing", "pager")
    assert body["commonLabels"] == labels
    assert body["groupKey"] == (
        '{}:{alertname="QualityOutOfBounds", instance="shop", lane="intents", '
        'segment="language=de"}'
    )
    [alert] = body["alerts"]
    assert alert["labels"] == labels
    assert alert["annotations"]["summary"] == "disagreement 18.2 %"
    assert alert["startsAt"] == "2023-11-14T22:14:20.250Z"
    assert alert["endsAt"] == "0001-01-01T00:00:00Z"
    assert alert["generatorURL"] == body["externalURL"] == "https://p.example"
    assert alert["fingerprint"] == "0123456789abcdef"


def test_a_resolved_alert_has_the_same_identity_and_an_end(
    receiver: Receiver, channel: WebhookChannel
) -> None:
    firing = sent(receiver, channel, NOTIFICATION)
    over = msgspec.structs.replace(NOTIFICATION, state="resolved", ended_at=1_700_000_120.0)
    resolved = sent(receiver, channel, over)
    assert resolved["status"] == resolved["alerts"][0]["status"] == "resolved"
    assert resolved["alerts"][0]["endsAt"] == "2023-11-14T22:15:20.000Z"
    for key in ("groupKey", "groupLabels"):
        assert resolved[key] == firing[key]
    for key in ("labels", "startsAt", "fingerprint"):
        assert resolved["alerts"][0][key] == firing["alerts"][0][key]


def test_the_request_is_signed_typed_and_recognisable(
    receiver: Receiver, channel: WebhookChannel
) -> None:
    channel.send(NOTIFICATION)
    line, headers, content = receiver.requests[0]
    assert line == "POST /hook/s3cret?x=1 HTTP/1.1\r\n"
    assert headers["host"] == f"127.0.0.1:{receiver.port}"
    assert headers["content-type"] == "application/json"
    assert headers["idempotency-key"] == NOTIFICATION.idempotency_key
    digest = hmac.new(b"key", content, hashlib.sha256).hexdigest()
    assert headers["x-proctord-signature"] == f"sha256={digest}"


def test_without_a_secret_nothing_is_signed(receiver: Receiver) -> None:
    WebhookChannel("it", f"http://127.0.0.1:{receiver.port}/", allow=LOOPBACK).send(NOTIFICATION)
    assert "x-proctord-signature" not in receiver.requests[0][1]


# --- answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_2xx_is_an_acceptance(
    receiver: Receiver, channel: WebhookChannel, status: int
) -> None:
    receiver.say = lambda peer: peer.sendall(answer(status))
    channel.send(NOTIFICATION)
    assert receiver.connections == 1


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        (301, False),
        (400, False),
        (401, False),
        (404, False),
        (408, True),
        (410, False),
        (422, False),
        (429, True),
        (500, True),
        (502, True),
        (503, True),
    ],
)
def test_other_answers_say_if_trying_again_helps(
    receiver: Receiver, channel: WebhookChannel, status: int, *, retryable: bool
) -> None:
    receiver.say = lambda peer: peer.sendall(answer(status))
    error = failure(channel)
    assert error.retryable is retryable
    assert f"answered {status}" in error.what
    assert receiver.connections == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("17", 17.0),
        ("Fri, 31 Dec 2027 23:59:59 GMT", None),
        ("-1", None),
        ("soon", None),
        ("9" * 400, None),
    ],
)
def test_a_retry_after_in_seconds_is_passed_on(
    receiver: Receiver, channel: WebhookChannel, header: str, seconds: float | None
) -> None:
    receiver.say = lambda peer: peer.sendall(answer(429, Retry_After=header))
    assert failure(channel).retry_after == seconds


def test_a_redirect_is_not_followed(receiver: Receiver, channel: WebhookChannel) -> None:
    target = "http://169.254.169.254/latest/meta-data/"
    receiver.say = lambda peer: peer.sendall(answer(307, Location=target))
    error = failure(channel)
    assert not error.retryable
    assert receiver.connections == 1


def _never(peer: socket.socket) -> None:
    peer.recv(1)  # returns when the client hangs up


def _drip(peer: socket.socket) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 200:
        peer.sendall(bytes([byte]))
        time.sleep(0.02)


def _reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


def _garbage(peer: socket.socket) -> None:
    peer.sendall(b"220 mail.example ESMTP\r\n" * 3)


@pytest.mark.parametrize(
    ("say", "words"),
    [
        (_never, "timed out|longer than it may"),
        (_drip, "timed out|longer than it may"),
        (_reset, "reset"),
        (_garbage, "not HTTP"),
    ],
)
def test_a_call_that_goes_wrong_may_be_tried_again(
    receiver: Receiver, say: Callable[[socket.socket], None], words: str
) -> None:
    url = f"http://127.0.0.1:{receiver.port}/s3cret"
    hasty = WebhookChannel("it", url, allow=LOOPBACK, seconds=1.0)
    receiver.say = say
    error = failure(hasty)
    assert error.retryable
    assert re.search(words, error.what)
    receiver.say = lambda peer: peer.sendall(answer(200))
    hasty.send(NOTIFICATION)


def test_an_endless_body_is_not_read(receiver: Receiver, channel: WebhookChannel) -> None:
    receiver.say = lambda peer: peer.sendall(
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"
    )
    channel.send(NOTIFICATION)


# --- where it may lead -----------------------------------------------------------------------


def test_a_receiver_inside_is_refused_unless_it_is_allowed(receiver: Receiver) -> None:
    for host in ("127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"):
        error = failure(WebhookChannel("it", f"http://{host}:{receiver.port}/"))
        assert "not public and not allowed" in error.what
    assert receiver.connections == 0


@pytest.mark.parametrize("host", ["169.254.169.254", "[fd00:ec2::254]", "[::1]", "0.0.0.0"])
def test_addresses_of_clouds_and_of_ourselves_are_refused(host: str) -> None:
    error = failure(WebhookChannel("it", f"http://{host}/", allow=("10.0.0.0/8",)))
    assert "not public and not allowed" in error.what


def test_one_bad_address_of_several_is_enough_to_refuse(receiver: Receiver) -> None:
    channel = WebhookChannel(
        "it",
        f"http://hooks.example:{receiver.port}/",
        allow=("127.0.0.1/32",),
        look_up=lambda _host, _port: ["127.0.0.1", "10.0.0.7"],
    )
    assert "hooks.example is 10.0.0.7" in failure(channel).what
    assert receiver.connections == 0


def test_a_name_is_looked_up_once_a_call_and_that_address_is_used(receiver: Receiver) -> None:
    asked: list[str] = []

    def rebinding(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    url = f"http://hooks.example:{receiver.port}/"
    channel = WebhookChannel("it", url, allow=LOOPBACK, look_up=rebinding)
    channel.send(NOTIFICATION)
    assert asked == ["hooks.example"]
    assert receiver.requests[0][1]["host"] == f"hooks.example:{receiver.port}"
    assert "169.254.169.254" in failure(channel).what


def test_no_connection_is_kept_that_would_skip_the_next_look(
    receiver: Receiver, channel: WebhookChannel
) -> None:
    def keep_open(peer: socket.socket) -> None:
        peer.sendall(answer(200))
        peer.recv(1)  # returns when the client hangs up

    receiver.say = keep_open
    channel.send(NOTIFICATION)
    channel.send(NOTIFICATION)
    assert receiver.connections == 2


def test_an_address_that_does_not_answer_is_no_reason_to_give_up_on_the_next(
    receiver: Receiver,
) -> None:
    channel = WebhookChannel(
        "it",
        f"http://hooks.example:{receiver.port}/",
        allow=LOOPBACK,
        look_up=lambda _host, _port: ["127.0.0.99", "127.0.0.1"],
    )
    channel.send(NOTIFICATION)
    assert receiver.connections == 1


def test_a_name_without_an_address_may_be_tried_again() -> None:
    def unknown(_host: str, _port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    error = failure(WebhookChannel("it", "https://hooks.example/", look_up=unknown))
    assert error.retryable
    assert "hooks.example has no address" in error.what


@pytest.mark.parametrize(
    ("address", "may"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("172.16.0.1", False),
        ("192.168.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("fe80::1%eth0", False),
        ("ff02::1", False),
        ("::", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::a00:1", False),
        ("64:ff9b::5db8:d822", True),
        ("2002:7f00:1::", False),
    ],
)
def test_only_public_addresses_may_be_connected_to(address: str, *, may: bool) -> None:
    assert may_connect(address, ()) is may


def test_the_environment_s_proxy_is_not_used(
    receiver: Receiver, channel: WebhookChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    channel.send(NOTIFICATION)
    assert receiver.connections == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a key and a self-signed certificate for hooks.example."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    directory = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=hooks.example",
         "-addext", "subjectAltName=DNS:hooks.example"],
        cwd=directory, check=True, capture_output=True,
    )  # fmt: skip
    return directory


@pytest.mark.parametrize(
    ("host", "trusted", "words"),
    [
        ("hooks.example", True, ""),
        ("hooks.example", False, "certificate verify failed"),
        # the address is the same and the certificate is genuine, but of somebody else
        ("other.example", True, "Hostname mismatch"),
    ],
)
def test_the_certificate_is_checked_against_the_name_in_the_url(
    receiver: Receiver,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    words: str,
    *,
    trusted: bool,
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    receiver.wrap = lambda peer: context.wrap_socket(peer, server_side=True)
    url = f"https://{host}:{receiver.port}/"
    channel = WebhookChannel("it", url, allow=LOOPBACK, look_up=lambda _h, _p: ["127.0.0.1"])
    if words:
        assert words in failure(channel).what
        assert receiver.requests == []
    else:
        channel.send(NOTIFICATION)
        assert receiver.requests[0][1]["host"] == f"{host}:{receiver.port}"


# --- configuration ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example/s3cret",
        "ftp://hooks.example/s3cret",
        "file:///s3cret",
        "http:///s3cret",
        "https://hooks.example:99999/s3cret",
        "https://user:s3cret@hooks.example/",
        "https://hooks.example/s3cret\r\nX: y",
        "https://hooks.example/s3cret ü",
        "https://[::1/s3cret",
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        WebhookChannel("pager", url)
    assert "channel pager" in caught.value.what
    assert "s3cret" not in str(caught.value)


def test_a_network_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"10\.0\.0\.1/8"):
        WebhookChannel("pager", "https://hooks.example/", allow=("10.0.0.1/8",))
