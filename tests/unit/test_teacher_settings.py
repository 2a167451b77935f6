"""Settings of the HTTP teacher that cannot work are refused before the first call."""

from __future__ import annotations

from typing import Any

import pytest

from monitor.teachers import Question
from monitor.teachers.http import HttpTeacher
from monitor.teachers.http_settings import HttpTeacherSettings, check, price
from monitor.teachers.prompt import hash_of_prompt
from monitor.teachers.reply import Usage
from schemas.errors import ConfigError

CANARY = "sk-canary-4711"
PRICED: dict[str, Any] = {"usd_per_million_input": 1.0, "usd_per_million_output": 4.0}


def settings(**changed: Any) -> HttpTeacherSettings:
    return HttpTeacherSettings(
        **({"base_url": "http://127.0.0.1:1/v1", "model": "m"} | PRICED | changed)
    )


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"base_url": "api.example.com/v1"}, "no http"),
        ({"base_url": "ftp://api.example.com/v1"}, "no http"),
        ({"base_url": "https://"}, "no http"),
        ({"base_url": "https://api.example.com:port/v1"}, "no http"),
        ({"base_url": f"https://me:{CANARY}@api.example.com/v1"}, "carries a user"),
        ({"base_url": f"https://api.example.com/v1?key={CANARY}"}, "carries a user"),
        ({"key_env": "A", "key_file": "b"}, "two sources"),
        ({"key_env": "PROCTORD_TEST_UNSET"}, "no key of the teacher in"),
        ({"key_file": "/nowhere/key"}, "cannot be read"),
        ({"usd_per_million_input": None}, "unknown, so no budget"),
        ({"usd_per_million_output": None}, "unknown, so no budget"),
        ({"usd_per_million_input": -1.0}, "a price of -1.0"),
        ({"most_usd_per_call": float("nan")}, "a price of nan"),
    ],
)
def test_what_cannot_work_is_refused_with_a_next_step(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        check(settings(**changed))
    assert caught.value.next_step
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "usage", "dollars", "why"),
    [
        ({}, (1000, 500, None), 0.003, "by the price of tokens"),
        ({}, (1000, 500, 0.5), 0.5, "as the provider states it"),
        ({}, None, 0.125, "the most it can be, where nothing is stated"),
        ({"usd_per_million_input": None, "most_usd_per_call": 0.02}, (9, 9, None), 0.02, "fixed"),
        ({"usd_per_million_input": 0.0, "usd_per_million_output": 0.0}, (9, 9, None), 0, "own"),
    ],
)
def test_what_a_call_cost(
    changed: dict[str, Any], usage: tuple[int, int, float | None] | None, dollars: float, why: str
) -> None:
    stated = usage and Usage(input_tokens=usage[0], output_tokens=usage[1], cost_usd=usage[2])
    assert price(settings(**changed), stated, most=0.125) == pytest.approx(dollars), why


def test_what_is_set_aside_grows_with_the_ticket_and_covers_every_byte() -> None:
    teacher = HttpTeacher(settings(max_tokens=100))
    short, long = (
        teacher.most_it_can_cost(Question(ticket_id="t", text=text)) for text in ("", "返" * 1000)
    )
    assert long - short == pytest.approx(3 * 1000 * 1.0 / 1e6)
    assert short > 100 * 4.0 / 1e6
    teacher.close()


def test_a_question_with_another_taxonomy_is_refused_since_its_hash_would_lie() -> None:
    teacher = HttpTeacher(settings(taxonomy=("a", "b")))
    assert teacher.prompt_hash == hash_of_prompt(("a", "b"))
    with pytest.raises(ValueError, match="another taxonomy"):
        teacher.ask(Question(ticket_id="t", text="x", taxonomy=("a",)))
    teacher.close()
