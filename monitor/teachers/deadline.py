"""An HTTP transport whose calls end by a deadline, whatever the server does.

A read time-out starts anew with every byte: a server that sends one a second, in the headers or
in the body, holds its caller for ever. Here every operation on the socket gets the time that is
left of the whole call, so the last one ends in time too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ssl import SSLContext
from typing import Any

import httpcore2
import httpx2

#: What a call can raise: it timed out, the network failed, or the server spoke no HTTP.
NETWORK_ERRORS = (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError)
#: Those of them after which nothing had been sent yet.
BEFORE_SENDING = (httpcore2.ConnectTimeout, httpcore2.ConnectError, httpcore2.PoolTimeout)


class DeadlineTransport(httpx2.BaseTransport):
    """A connection pool for `httpx2.Client`; a call runs in one thread, inside `by`.

    Reads no proxy or certificate settings from the environment. Resolving a host name is the
    one step that the deadline does not cut short: the operating system bounds it.
    """

    def __init__(self) -> None:
        self._clock = _Clock()
        self._pool = httpcore2.ConnectionPool(
            ssl_context=httpx2.create_ssl_context(trust_env=False),
            network_backend=_Backend(self._clock),
            keepalive_expiry=30.0,
        )

    @contextmanager
    def by(self, deadline: float) -> Iterator[None]:
        """Let this thread's calls end by this reading of `time.monotonic`."""
        self._clock.deadline = deadline
        try:
            yield
        finally:
            self._clock.deadline = None

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request.

        Raises
        ------
        one of NETWORK_ERRORS, unmapped; so does reading the response.
        """
        assert isinstance(request.stream, httpx2.SyncByteStream)
        url = request.url
        response = self._pool.handle_request(
            httpcore2.Request(
                method=request.method,
                url=httpcore2.URL(
                    scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx2.Response(
            response.status, headers=response.headers, stream=_Body(response.stream)
        )

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


class _Body(httpx2.SyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        self._stream.close()


class _Clock(threading.local):
    """The deadline of the call that this thread is making."""

    deadline: float | None = None

    def left(self, timeout: float | None, late: type[httpcore2.TimeoutException]) -> float | None:
        """The shorter of the operation's time-out and what is left; raises `late` at 0."""
        if self.deadline is None:
            return timeout
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise late("the call's total time is over")
        return left if timeout is None else min(timeout, left)


class _Backend(httpcore2.NetworkBackend):
    def __init__(self, clock: _Clock) -> None:
        self._clock = clock
        self._inner = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        left = self._clock.left(timeout, httpcore2.ConnectTimeout)
        stream = self._inner.connect_tcp(host, port, left, local_address, socket_options)
        return _Stream(stream, self._clock)


class _Stream(httpcore2.NetworkStream):
    def __init__(self, inner: httpcore2.NetworkStream, clock: _Clock) -> None:
        self._inner = inner
        self._clock = clock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._clock.left(timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._clock.left(timeout, httpcore2.WriteTimeout))

    def start_tls(
        self,
        ssl_context: SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        left = self._clock.left(timeout, httpcore2.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left), self._clock)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    def close(self) -> None:
        self._inner.close()
