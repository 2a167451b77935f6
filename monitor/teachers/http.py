"""A teacher behind an OpenAI-compatible chat-completions server.

One call, no second try (`patience.py` has the only retry): it says what went wrong, whether
asking again can help, and whether the call may have cost money. Redirects are not followed and
the environment's proxies not read, since either would carry the key elsewhere.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import httpx2
import msgspec

from monitor.teachers import Question, TeacherAnswer
from monitor.teachers.deadline import BEFORE_SENDING, NETWORK_ERRORS, DeadlineTransport
from monitor.teachers.http_settings import HttpTeacherSettings, check, price, priced, read_key
from monitor.teachers.prompt import answer_schema, hash_of_prompt, system_text, user_text
from monitor.teachers.reply import read_reply
from monitor.teachers.retry_after import retry_after
from schemas.errors import ConfigError, TeacherUnavailableError

#: A completion of a few hundred tokens is some kB; more is no completion.
MAX_BODY_BYTES = 1 << 20
#: Tokens that servers add around two messages, with room to spare.
_FRAMING_TOKENS = 64

#: Codes in the body of an error that concern the ticket, and the abstention they amount to.
_ABOUT_THE_TICKET = {
    "content_filter": "refused",
    "content_policy_violation": "refused",
    "context_length_exceeded": "truncated",
}
_NEXT_STEP = {
    400: "the server refuses the request: check model, max_tokens_field and temperature",
    401: "the key is refused: check key_env or key_file",
    403: "the key may not use this model: check the account's rights",
    404: "check base_url (it ends before /chat/completions) and model",
    422: "the server refuses the request: check model, max_tokens_field and temperature",
}
_RETRYABLE = frozenset({408, 409, 425, 429})
#: Refusals that any other ticket would meet as well.
_LASTING = frozenset({401, 403, 404})
#: A gateway gave up waiting: the model behind it may have gone on.
_MAYBE_BILLED = frozenset({408, 504, 524})
#: Refusals that a server gives to a `response_format` that it does not know.
_FORMAT_REFUSED = frozenset({400, 422})


class _Response(NamedTuple):
    status: int
    headers: Mapping[str, str]
    #: None: longer than MAX_BODY_BYTES
    body: bytes | None


class HttpTeacher:
    """Asks a model about one ticket at a time; threads may share it.

    Raises
    ------
    ConfigError: the settings cannot work, or the key is not where they say.
    """

    def __init__(self, settings: HttpTeacherSettings) -> None:
        check(settings)
        self._settings = settings
        self._url = settings.base_url.rstrip("/") + "/chat/completions"
        self._system = system_text(settings.taxonomy, settings.instructions)
        self._format = _response_format(settings.taxonomy)
        #: no token is shorter than a byte; a server may put the schema into the prompt
        self._fixed_tokens = len(self._system.encode()) + len(msgspec.json.encode(self._format))
        #: the server refused the strict format once, and answered without it
        self._plain = False
        self._transport = DeadlineTransport()
        self._client = httpx2.Client(
            transport=self._transport,
            follow_redirects=False,
            trust_env=False,
            timeout=httpx2.Timeout(settings.read_seconds, connect=settings.connect_seconds),
        )
        self.name = settings.model
        self.prompt_hash = hash_of_prompt(settings.taxonomy, settings.instructions)

    def most_it_can_cost(self, question: Question) -> float:
        """Dollars by a count of bytes, which no tokeniser exceeds: several times the cost."""
        tokens = self._fixed_tokens + len(user_text(question.text).encode()) + _FRAMING_TOKENS
        return priced(self._settings, tokens, self._settings.max_tokens)

    def ask(self, question: Question) -> TeacherAnswer:
        """Ask once, for `total_seconds` at most.

        Raises
        ------
        TeacherUnavailableError: no answer came; says whether asking again can help.
        ValueError: the question's taxonomy is not the one that `prompt_hash` stands for.
        """
        if question.taxonomy != self._settings.taxonomy:
            raise ValueError("the question has another taxonomy than the teacher's settings")
        started = time.monotonic()
        with self._transport.by(started + self._settings.total_seconds):
            response = self._converse(question)
        return self._answer(question, response, (time.monotonic() - started) * 1e3)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _converse(self, question: Question) -> _Response:
        """Post in the strict format; where that is refused, without it, and remember."""
        if self._plain:
            return self._post(self._request(question))
        response = self._post(self._request(question) | {"response_format": self._format})
        if response.status not in _FORMAT_REFUSED or _abstention(response):
            return response
        plain = self._post(self._request(question))
        # Only a success proves that the format was at fault: a bad request fails both ways.
        self._plain = plain.status == httpx2.codes.OK
        return plain

    def _request(self, question: Question) -> dict[str, Any]:
        settings = self._settings
        request: dict[str, Any] = {
            "model": settings.model,
            "messages": [
                {"role": "system", "content": self._system},
                {"role": "user", "content": user_text(question.text)},
            ],
            settings.max_tokens_field: settings.max_tokens,
        }
        if settings.temperature is not None:
            request["temperature"] = settings.temperature
        return request

    def _post(self, request: dict[str, Any]) -> _Response:
        try:
            with self._client.stream(
                "POST", self._url, content=msgspec.json.encode(request), headers=self._headers()
            ) as response:
                return _Response(response.status_code, response.headers, _read(response))
        except NETWORK_ERRORS as error:
            # The library's text could quote what the server sent; its type says enough.
            raise TeacherUnavailableError(
                f"no answer from the teacher at {self._url}: {type(error).__name__}",
                retryable=True,
                maybe_billed=not isinstance(error, BEFORE_SENDING),
                next_step="check that the server runs and is reached from here",
            ) from None

    def _headers(self) -> dict[str, str]:
        headers = {
            "content-type": "application/json",
            "accept": "application/json",
            # compressed, a small body could become a huge one
            "accept-encoding": "identity",
        }
        try:
            key = read_key(self._settings)
        except ConfigError as error:
            raise TeacherUnavailableError(
                error.what, retryable=False, lasting=True, next_step=error.next_step
            ) from None
        return headers | {"authorization": f"Bearer {key}"} if key else headers

    def _answer(self, question: Question, response: _Response, latency_ms: float) -> TeacherAnswer:
        if response.status != httpx2.codes.OK:
            abstained = _abstention(response)
            if not abstained:
                raise _unavailable(response, self._settings.model)
            return TeacherAnswer(output=None, abstained=abstained, latency_ms=latency_ms)
        reply = read_reply(response.body or b"", question.taxonomy)
        usage = reply.usage
        return TeacherAnswer(
            output=reply.output,
            abstained=reply.abstained,
            probabilities=reply.probabilities,
            latency_ms=latency_ms,
            input_tokens=usage.input_tokens if usage else 0,
            output_tokens=usage.output_tokens if usage else 0,
            # A budget that believed an unreadable bill to be 0 would be no budget.
            cost_usd=price(self._settings, usage, self.most_it_can_cost(question)),
        )


def _response_format(taxonomy: tuple[str, ...]) -> dict[str, Any]:
    schema = {"name": "answer", "strict": True, "schema": answer_schema(taxonomy)}
    return {"type": "json_schema", "json_schema": schema}


def _read(response: httpx2.Response) -> bytes | None:
    body = bytearray()
    chunks: Iterator[bytes] = response.iter_raw()
    for chunk in chunks:
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)


class _ErrorBody(msgspec.Struct):
    error: dict[str, Any]


def _error_code(response: _Response) -> str:
    """`error.code` where it is plainly a code: other text of an error can quote key or ticket."""
    try:
        error = msgspec.json.decode(response.body or b"", type=_ErrorBody).error
    except (msgspec.DecodeError, RecursionError):
        return ""
    code = error.get("code") or error.get("type")
    return code if isinstance(code, str) and re.fullmatch(r"[a-z_]{1,40}", code) else ""


def _abstention(response: _Response) -> str:
    """Why the server will not answer this ticket, "" where the ticket is not what it refuses."""
    if response.status not in _FORMAT_REFUSED:
        return ""
    return _ABOUT_THE_TICKET.get(_error_code(response), "")


def _unavailable(response: _Response, model: str) -> TeacherUnavailableError:
    status, code = response.status, _error_code(response)
    said = f"HTTP {status} {code}".rstrip()
    return TeacherUnavailableError(
        f"the teacher {model} gave no answer: {said}",
        retryable=status in _RETRYABLE or status >= httpx2.codes.INTERNAL_SERVER_ERROR,
        retry_after=retry_after(response.headers, time.time()),
        maybe_billed=status in _MAYBE_BILLED,
        lasting=status in _LASTING,
        next_step=_NEXT_STEP.get(status, _by_class(status)),
    )


def _by_class(status: int) -> str:
    if 300 <= status < 400:
        return "base_url redirects: give the address that it leads to"
    return "the server is overloaded or out of order: it is asked again later"
