"""A receiver of Alertmanager's webhooks: chat bridges, ticket systems, pagers know this body.

Body: version 4 of Alertmanager's webhook data (prometheus.io/docs/alerting, `webhook_config`).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Sequence
from typing import Any, ClassVar
from urllib.parse import urlsplit

import httpcore2
import msgspec

from monitor.alerts.channels.outward import OutwardBackend, Resolve, resolve
from monitor.alerts.figures import rfc3339
from monitor.alerts.text import annotations_of, labels_of
from schemas.alerts import Notification
from schemas.errors import ConfigError, DeliveryError

#: Go's zero time: what Alertmanager says of an alert that has not ended
_NEVER = "0001-01-01T00:00:00Z"
_SIGNATURE = "X-Proctord-Signature"


class WebhookChannel:
    """Posts each notification to one URL.

    Parameters
    ----------
    name: what the operator calls it; the body's `receiver`.
    url: `https://…` or `http://…`. It is never shown: such URLs are often the only secret.
    secret: signs the body: `X-Proctord-Signature: sha256=` and the HMAC-SHA256 in hex (RFC 2104).
    allow: networks (`10.0.0.0/8`) that the receiver may be in although they are not public.
    external_url: where people can look at this proctord, for the body's links.
    seconds: for the whole call, from the connection to the last header.
    look_up: the resolver; another one in tests.

    Redirects are not followed, and neither proxies nor credentials are taken from the
    environment. Not thread-safe: one thread owns a channel.

    Raises
    ------
    ConfigError: the URL or a network cannot be used.
    """

    kind: ClassVar[str] = "webhook"

    def __init__(
        self,
        name: str,
        url: str,
        *,
        secret: str = "",
        allow: Sequence[str] = (),
        external_url: str = "",
        seconds: float = 10.0,
        look_up: Resolve = resolve,
    ) -> None:
        self.name = name
        self._url = _checked(name, url)
        self._host = urlsplit(url).hostname or ""
        self._secret = secret.encode()
        self._external_url = external_url
        self._seconds = seconds
        self._backend = OutwardBackend(_networks(name, allow), look_up)
        # no connection is kept: the next one is looked at anew
        self._pool = httpcore2.ConnectionPool(
            network_backend=self._backend, max_keepalive_connections=0
        )

    def send(self, notification: Notification) -> None:
        """Post it once; done when the receiver answers 2xx.

        Raises
        ------
        DeliveryError: retryable after 408, 429, 5xx and whatever stops the call on its way.
        """
        content = msgspec.json.encode(body(notification, self.name, self._external_url))
        try:
            status, retry_after = self._post(content, notification.idempotency_key)
        except (httpcore2.NetworkError, httpcore2.TimeoutException) as error:
            # `error` may name the address, never the URL
            raise self._failure(str(error) or type(error).__name__, retryable=True) from error
        except httpcore2.ProtocolError as error:
            raise self._failure("the answer is not HTTP", retryable=True) from error
        if not 200 <= status < 300:
            raise self._failure(
                f"answered {status}",
                retryable=status in {408, 429} or status >= 500,
                retry_after=retry_after,
            )

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def _post(self, content: bytes, idempotency_key: str) -> tuple[int, float | None]:
        """Return the status and the Retry-After; the answer's body is not read."""
        self._backend.begin(self._seconds)
        with self._pool.stream(
            "POST",
            self._url,
            headers=self._headers(content, idempotency_key),
            content=content,
        ) as response:
            headers = {k.lower(): v for k, v in response.headers}
            return response.status, _seconds(headers.get(b"retry-after", b""))

    def _headers(self, content: bytes, idempotency_key: str) -> dict[bytes | str, bytes | str]:
        headers: dict[bytes | str, bytes | str] = {
            "Host": urlsplit(self._url).netloc,
            "Content-Type": "application/json",
            "User-Agent": "proctord",
        }
        if idempotency_key:
            headers["Idempotency-Key"] = idempotency_key.encode("ascii", "replace").decode()
        if self._secret:
            digest = hmac.new(self._secret, content, hashlib.sha256).hexdigest()
            headers[_SIGNATURE] = f"sha256={digest}"
        return headers

    def _failure(
        self, why: str, *, retryable: bool, retry_after: float | None = None
    ) -> DeliveryError:
        what = f"channel {self.name} ({self._host}): {why}"
        return DeliveryError(what, retryable=retryable, retry_after=retry_after)


def body(notification: Notification, receiver: str, external_url: str) -> dict[str, Any]:
    """Return the webhook's body for one alert: a group of one.

    News is `firing` with an end, as it has no other state; alerts that go on end at Go's zero
    time, as receivers expect.
    """
    labels, described = labels_of(notification), annotations_of(notification)
    group = {name: value for name, value in labels.items() if name != "severity"}
    ended_at = notification.ended_at
    return {
        "version": "4",
        "groupKey": "{}:{" + ", ".join(f'{k}="{v}"' for k, v in group.items()) + "}",
        "truncatedAlerts": 0,
        "status": notification.state,
        "receiver": receiver,
        "groupLabels": group,
        "commonLabels": labels,
        "commonAnnotations": described,
        "externalURL": external_url,
        "alerts": [
            {
                "status": notification.state,
                "labels": labels,
                "annotations": described,
                "startsAt": rfc3339(notification.started_at),
                "endsAt": _NEVER if ended_at is None else rfc3339(ended_at),
                "generatorURL": external_url,
                "fingerprint": notification.dedup_key[:16],
            }
        ],
    }


def _checked(name: str, url: str) -> str:
    try:
        parts = urlsplit(url)
        fine = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        # beyond ASCII a host needs IDNA and a path percent signs, which the operator writes best
        fine = fine and all("!" <= character <= "~" for character in url)
    except ValueError:
        fine = False
    if not fine:
        # the URL itself is not repeated: it may be a secret
        what = f"channel {name}: its url is not an http or https URL with a host"
        raise ConfigError(what, next_step="write it as https://host/path")
    if "@" in parts.netloc:
        what = f"channel {name}: its url carries a user name or password"
        raise ConfigError(what, next_step="take it out; use `secret` to sign the body")
    return url


def _networks(
    name: str, allow: Sequence[str]
) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    try:
        return [ipaddress.ip_network(network) for network in allow]
    except ValueError as error:
        what = f"channel {name}: {error}"
        raise ConfigError(what, next_step="write networks as 10.0.0.0/8 or fd00::/8") from error


def _seconds(retry_after: bytes) -> float | None:
    """Read the form of Retry-After in seconds; a date is not worth its parser here."""
    text = retry_after.strip()
    return float(text) if text.isdigit() and len(text) < 10 else None
