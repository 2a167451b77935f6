"""The teacher behind a real HTTP server on loopback: an OpenAI-compatible chat-completions API.

It stands for the large model of a provider, and knows what that model said of each ticket. It is
asked as any teacher is: with a prompt, in which it finds the ticket.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from monitor.demo.customers import Recorded, Row
from monitor.redaction import redact

MODEL: Final = "demo-teacher-1"
#: how sure it says it is: it is not asked to know better
CONFIDENCE: Final = 0.95
_TICKET: Final = re.compile(r"<ticket>\n(.*)\n</ticket>", re.DOTALL)
_NOT_SPELLED: Final = re.compile(r"\W+")


class TeacherServer:
    """Answers what was recorded; abstains from a ticket that it does not know.

    Attributes
    ----------
    asked: calls answered.
    latency_ms: how long the recorded model took for them, all together. The server itself does
        not wait: a story of a day is told in a minute.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self._answers: dict[str, Recorded] = {}
        for row in rows:
            self._answers.setdefault(_spelling(redact(row.text)), row.teacher)
        self._lock = threading.Lock()
        self.asked = 0
        self.latency_ms = 0.0

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve on a free port while the block runs; yields the base URL."""
        server = _Server(("127.0.0.1", 0), self)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the completion of one request."""
        user = request["messages"][-1]["content"]
        found = _TICKET.search(user)
        recorded = self._answers.get(_spelling(found[1])) if found else None
        recorded = recorded or Recorded(label=None)
        with self._lock:
            self.asked += 1
            self.latency_ms += recorded.latency_ms
        content = "I cannot say."
        if recorded.label is not None:
            content = json.dumps(
                {"label": recorded.label, "confidence": CONFIDENCE, "alternatives": []}
            )
        prompt, completion = len(str(request["messages"])) // 4, len(content) // 4
        return {
            "id": f"demo-{self.asked}",
            "object": "chat.completion",
            "model": MODEL,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": content},
                    "finish_reason": "stop",
                }
            ],
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "total_tokens": prompt + completion,
                "cost": recorded.cost_usd,
            },
        }


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], teacher: TeacherServer) -> None:
        super().__init__(address, _Handler)
        self.teacher = teacher


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # a connection is kept: thousands of calls come
    # headers and body leave in one packet, else Nagle's algorithm holds the body back for 40 ms
    wbufsize = -1
    server: _Server

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps(self.server.teacher.complete(request)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing: the demo has a display of its own."""


def _spelling(text: str) -> str:
    """Return what is left of a text whatever brackets and blanks became of it on the way."""
    return _NOT_SPELLED.sub("", text).casefold()
