"""Connections that lead where they were meant to, and end when they were meant to.

A URL in a configuration may name, or come to name, a host inside: the cloud's metadata service,
a database that trusts its network. So the name is resolved once, every address it has must be
public or allowed by the operator, and the connection goes to the address that was looked at: a
name that changes between look and connect (DNS rebinding) gains nothing. A proxy or an egress
policy is the stronger wall; this is the door.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import httpcore2

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
#: host and port -> the addresses it has
Resolve = Callable[[str, int], Sequence[str]]

#: NAT64 (RFC 6052): an IPv4 address in the last 32 bits
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver; its own time-outs apply."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_rest, address in found]


def may_connect(address: str, allowed: Iterable[Network]) -> bool:
    """Say whether an address is public, or lies in a network that the operator allows.

    An IPv4 address inside an IPv6 one (mapped, 6to4, NAT64) is judged as what it is.

    >>> [may_connect(a, ()) for a in ("8.8.8.8", "169.254.169.254", "::ffff:127.0.0.1", "10.0.0.1")]
    [True, False, False, False]
    >>> may_connect("127.0.0.1", [ipaddress.ip_network("127.0.0.0/8")])
    True
    """
    found = _innermost(ipaddress.ip_address(address.partition("%")[0]))
    if any(found in network for network in allowed):
        return True
    return found.is_global and not found.is_multicast


def _innermost(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


class OutwardBackend(httpcore2.NetworkBackend):
    """Connects to looked-at addresses only, and lets no call outlast its deadline.

    The time-outs of an HTTP client count from the last byte: a peer that sends one byte a second
    holds it for ever. `begin` starts the clock of one call; every step gets what is left of it.
    """

    def __init__(self, allowed: Sequence[Network], look_up: Resolve) -> None:
        self._allowed = tuple(allowed)
        self._look_up = look_up
        self._inner = httpcore2.SyncBackend()
        self._deadline = 0.0

    def begin(self, seconds: float) -> None:
        """Give the next call so long."""
        self._deadline = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left.

        Raises
        ------
        httpcore2.TimeoutException: none are.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            message = "the call took longer than it may in all"
            raise httpcore2.ReadTimeout(message)
        return left

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect to the first address that answers, if all of them may be connected to."""
        del timeout  # the deadline is the tighter promise
        addresses = self._addresses(host, port)
        failure: Exception | None = None
        for index, address in enumerate(addresses):
            # a share for each: a dead IPv6 route must not use up the time of the IPv4 address
            share = self.left() / (len(addresses) - index)
            try:
                stream = self._inner.connect_tcp(
                    address, port, share, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
            else:
                return _DeadlineStream(stream, self)
        message = f"{host} cannot be connected to: {failure}"
        raise httpcore2.ConnectError(message) from failure

    def _addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            addresses = self._look_up(host, port)
        except (OSError, UnicodeError) as error:
            message = f"{host} has no address: {error}"
            raise httpcore2.ConnectError(message) from error
        for address in addresses:
            if not may_connect(address, self._allowed):
                message = f"{host} is {address}, which is not public and not allowed"
                raise httpcore2.ConnectError(message)
        return list(dict.fromkeys(addresses))


class _DeadlineStream(httpcore2.NetworkStream):
    """A stream whose every step ends by the backend's deadline."""

    def __init__(self, stream: httpcore2.NetworkStream, backend: OutwardBackend) -> None:
        self._stream = stream
        self._backend = backend

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        del timeout  # the deadline is the tighter promise
        return self._stream.read(max_bytes, self._backend.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        del timeout
        self._stream.write(buffer, self._backend.left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        # the certificate is checked against the name in the URL, not against the address
        del timeout
        secure = self._stream.start_tls(ssl_context, server_hostname, self._backend.left())
        return _DeadlineStream(secure, self._backend)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
