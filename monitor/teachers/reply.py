"""Reading a chat completion that may be anything: an answer, a refusal, a lie, a web page.

Whatever is not plainly a valid answer is an abstention; no label is ever guessed.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import msgspec

from monitor.taxonomy import spelling

#: More than any model reads or writes: a larger count is a fault, not a bill.
_MOST_TOKENS = 10**8

_T = TypeVar("_T")


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider says a call consumed."""

    input_tokens: int
    output_tokens: int
    #: dollars, where the provider states them
    cost_usd: float | None


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A completion, judged."""

    output: str | None = None
    #: `invalid`, `refused` or `truncated`; "" when there is an output
    abstained: str = "invalid"
    probabilities: tuple[tuple[str, float], ...] = ()
    #: None when the provider stated none
    usage: Usage | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    # Raw: choices that are broken must not hide the usage, nor the other way round.
    choices: msgspec.Raw = msgspec.Raw(b"null")
    usage: msgspec.Raw = msgspec.Raw(b"null")


def read_reply(body: bytes, taxonomy: tuple[str, ...]) -> Reply:
    r"""Judge the body of a chat completion.

    >>> body = rb'{"choices": [{"message": {"content": "{\"label\": \"Refund\"}"}}]}'
    >>> read_reply(body, ("refund", "size")).output
    'refund'
    >>> read_reply(b"<html>busy</html>", ("refund", "size")).abstained
    'invalid'
    """
    completion = _decode(body, _Completion)
    if completion is None:
        return Reply()
    usage = _usage(_decode(completion.usage, dict[str, Any]))
    choices = _decode(completion.choices, list[_Choice])
    reply = _judge(choices[0], taxonomy) if choices else Reply()
    return msgspec.structs.replace(reply, usage=usage)


def _judge(choice: _Choice, taxonomy: tuple[str, ...]) -> Reply:
    if choice.message.refusal or choice.finish_reason == "content_filter":
        return Reply(abstained="refused")
    if choice.finish_reason == "length":
        # even if it parses: the label may be the beginning of a longer one
        return Reply(abstained="truncated")
    answer = _decode(_json_in(choice.message.content or ""), dict[str, Any])
    if answer is None:
        return Reply()
    return _chosen(answer, taxonomy) if taxonomy else _written(answer)


def _written(answer: dict[str, Any]) -> Reply:
    text = answer.get("answer")
    # PostgreSQL stores no NUL
    output = text.replace("\x00", "").strip() if isinstance(text, str) else ""
    return Reply(output=output, abstained="") if output else Reply()


def _chosen(answer: dict[str, Any], taxonomy: tuple[str, ...]) -> Reply:
    label = _in_taxonomy(answer.get("label"), taxonomy)
    if label is None:
        return Reply()
    return Reply(output=label, abstained="", probabilities=_distribution(label, answer, taxonomy))


def _in_taxonomy(label: Any, taxonomy: tuple[str, ...]) -> str | None:
    return spelling(label, taxonomy) if isinstance(label, str) else None


def _distribution(
    label: str, answer: dict[str, Any], taxonomy: tuple[str, ...]
) -> tuple[tuple[str, float], ...]:
    """The stated probabilities, most probable first, summing to 1 at most; () without any.

    No alternative is above the label that was chosen: a distribution whose mode is another label
    would teach the student what the teacher did not say.
    """
    top = _probability(answer.get("confidence"))
    if not top:
        return ()
    stated = {label: top}
    others = answer.get("alternatives")
    for other in others if isinstance(others, list) else ():
        name = _in_taxonomy(other.get("label"), taxonomy) if isinstance(other, dict) else None
        share = _probability(other.get("confidence")) if name else None
        if name and share:
            stated.setdefault(name, min(top, share))
    total = max(1.0, math.fsum(stated.values()))
    ordered = sorted(stated.items(), key=lambda pair: -pair[1])  # stable: the label stays first
    return tuple((name, share / total) for name, share in ordered)


def _probability(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= 1 else None


def _usage(stated: dict[str, Any] | None) -> Usage | None:
    if stated is None:
        return None
    tokens_in, tokens_out = _count(stated, "prompt_tokens"), _count(stated, "completion_tokens")
    cost = _amount(stated.get("cost"))
    if tokens_in is None or tokens_out is None:
        return None if cost is None else Usage(input_tokens=0, output_tokens=0, cost_usd=cost)
    return Usage(input_tokens=tokens_in, output_tokens=tokens_out, cost_usd=cost)


def _count(stated: dict[str, Any], name: str) -> int | None:
    value = stated.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= _MOST_TOKENS else None


def _amount(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < math.inf else None


def _json_in(content: str) -> str:
    """The outermost braces: models without a schema wrap JSON in fences and pleasantries."""
    return content[content.find("{") : content.rfind("}") + 1]


def _decode(raw: bytes | str | msgspec.Raw, kind: type[_T]) -> _T | None:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        # msgspec is strict: NaN, lone surrogates and 1e999 end here as well
        return None
