"""How to reach a teacher over HTTP, what it costs, and its key."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

import httpx2
import msgspec

from monitor.teachers.reply import Usage
from schemas.errors import ConfigError

_KEY = re.compile(r"[\x21-\x7e]+")


class HttpTeacherSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One model behind an OpenAI-compatible `POST {base_url}/chat/completions`."""

    #: `https://api.example.com/v1`
    base_url: str
    model: str
    #: the labels to choose from; empty: free text
    taxonomy: tuple[str, ...] = ()
    #: what else the teacher must know, such as what each label means: part of the prompt's hash
    instructions: str = ""
    #: where the key is: an environment variable or a file (read at each call); both "": no key
    key_env: str = ""
    key_file: str = ""
    #: dollars for a million tokens
    usd_per_million_input: float | None = None
    usd_per_million_output: float | None = None
    #: without a price, for providers that state `usage.cost`: dollars to set aside for a call,
    #: and to book where the cost is not stated after all
    most_usd_per_call: float | None = None
    #: what an answer may be long, and what the server calls that
    max_tokens: int = 300
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    #: None: not sent, for models that take none
    temperature: float | None = 0.0
    #: seconds to connect, between two bytes, and for the whole call
    connect_seconds: float = 5.0
    read_seconds: float = 30.0
    total_seconds: float = 45.0


def check(settings: HttpTeacherSettings) -> None:
    """Refuse settings that cannot work, before the first call.

    Raises
    ------
    ConfigError: names the setting; the key is looked up, so that a missing one is found now.
    """
    try:
        url = httpx2.URL(settings.base_url)
    except httpx2.InvalidURL:
        url = httpx2.URL()
    if url.scheme not in {"http", "https"} or not url.host:
        raise ConfigError("the teacher's base_url is no http(s) address", next_step="https://…/v1")
    if url.userinfo or url.query or url.fragment:
        raise ConfigError(
            "the teacher's base_url carries a user, a query or a fragment",
            next_step="give the key by key_env or key_file: addresses end up in logs",
        )
    if settings.key_env and settings.key_file:
        raise ConfigError("the teacher's key has two sources", next_step="key_env or key_file")
    _check_price(settings)
    read_key(settings)


def _check_price(settings: HttpTeacherSettings) -> None:
    prices = (settings.usd_per_million_input, settings.usd_per_million_output)
    if None in prices and settings.most_usd_per_call is None:
        raise ConfigError(
            f"what {settings.model} costs is unknown, so no budget can hold",
            next_step="set usd_per_million_input and usd_per_million_output (0 for your own"
            " server), or most_usd_per_call when the provider states usage.cost",
        )
    for amount in (*prices, settings.most_usd_per_call):
        if amount is not None and not 0 <= amount < float("inf"):
            raise ConfigError(f"a price of {amount} dollars", next_step="0 or a positive number")


def read_key(settings: HttpTeacherSettings) -> str:
    """The key, "" when none is configured; it stands in no message of an error.

    Raises
    ------
    ConfigError: the variable or file is not there, or holds no key.
    """
    if settings.key_env:
        source, key = f"${settings.key_env}", os.environ.get(settings.key_env, "")
    elif settings.key_file:
        source, key = settings.key_file, _first_line(settings.key_file)
    else:
        return ""
    # a line break in it would end the header, and the library's error would show the value
    if not _KEY.fullmatch(key):
        raise ConfigError(
            f"there is no key of the teacher in {source}",
            next_step="one line of printable ASCII without spaces",
        )
    return key


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text("ascii").strip()
    except (OSError, UnicodeError) as error:
        # the decoder's own message would quote the file
        why = error.strerror if isinstance(error, OSError) else "it is not ASCII"
        raise ConfigError(
            f"the key of the teacher in {path} cannot be read: {why}",
            next_step="one line of printable ASCII without spaces",
        ) from None


def price(settings: HttpTeacherSettings, usage: Usage | None, most: float) -> float:
    """Dollars that a call cost: as stated, else by the price, else the most it can have cost.

    >>> s = HttpTeacherSettings(
    ...     base_url="", model="", usd_per_million_input=1.0, usd_per_million_output=4.0
    ... )
    >>> price(s, Usage(input_tokens=1000, output_tokens=500, cost_usd=None), most=0.1)
    0.003
    """
    if usage is None:
        return most
    if usage.cost_usd is not None:
        return usage.cost_usd
    return priced(settings, usage.input_tokens, usage.output_tokens)


def priced(settings: HttpTeacherSettings, input_tokens: int, output_tokens: int) -> float:
    """Dollars by the price of tokens, or the fixed sum where tokens have none."""
    per_input, per_output = settings.usd_per_million_input, settings.usd_per_million_output
    if per_input is None or per_output is None:
        assert settings.most_usd_per_call is not None  # `check` saw to it
        return settings.most_usd_per_call
    return (input_tokens * per_input + output_tokens * per_output) / 1e6
