"""Reading `proctord.toml`: each fault is named, and no secret is."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.config import MonitorSettings
from retrain.config import RetrainSettings
from schemas.errors import ConfigError
from schemas.settings import load_settings, refuse_unknown

GOOD = {
    "contract": {"tolerance": 0.1},
    "teacher": {"kind": "scripted", "file": "answers.jsonl"},
}


def load(**tables: object) -> MonitorSettings:
    return load_settings(MonitorSettings, {**GOOD, **tables}, "proctord.toml")


def test_defaults_come_with_the_least_that_must_be_said() -> None:
    settings = load()
    assert settings.source.kind == "jsonl"
    assert settings.contract.tolerance == 0.1


def test_one_file_serves_both_programs() -> None:
    tables = {**GOOD, "registry": {"root": "students"}}
    assert load_settings(RetrainSettings, tables, "f").registry.root == Path("students")
    assert load(registry={"root": "students"}).task.comparator == "label"


@pytest.mark.parametrize(
    ("prose", "tables", "told"),
    [
        ("a key that is mistyped", {"task": {"comparater": "label"}}, "did you mean `comparator`"),
        ("a key of a core's settings", {"pipeline": {"windw_seconds": 1}}, "`window_seconds`"),
        ("a key of the contract", {"contract": {"tolernce": 0.1}}, "did you mean `tolerance`"),
        ("a tolerance of 300 %", {"contract": {"tolerance": 3}}, "between 0 and 1"),
        (
            "a tolerance of traffic that is no segment",
            {"contract": {"tolerance": 0.1, "segments": {"tier=gold": 0.05}}},
            "`tier` is not in pipeline.segment_by",
        ),
        ("a comparator that is none", {"task": {"comparator": "vibes"}}, "known: label"),
        ("a label twice", {"task": {"labels": ["a", "a"]}}, "twice"),
        ("kafka without a table", {"source": {"kind": "kafka"}}, "[source.kafka]"),
        ("http without a table", {"teacher": {"kind": "http"}}, "[teacher.http]"),
        ("recorded answers without a file", {"teacher": {"kind": "scripted"}}, "`file`"),
        (
            "a channel's name that no key can hold",
            {"alerts": {"channels": {"c" * 61: {"kind": "stdout"}}}},
            "at most 60 characters",
        ),
        ("a rate of 200 %", {"sampling": {"random_rate": 2}}, "sampling.random_rate"),
        ("slices that cut a window", {"drift": {"slice_seconds": 900}}, "pipeline.window_seconds"),
        ("a season too short", {"drift": {"reference": 24}}, "reference is 24"),
        ("text for a number", {"evaluation": {"tick_seconds": "often"}}, "evaluation.tick_seconds"),
    ],
)
def test_a_fault_is_named_with_its_key(prose: str, tables: dict, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(**tables)
    assert told in str(refused.value), prose
    assert refused.value.exit_code == 78


def test_nobody_accepts_a_loss_by_default() -> None:
    with pytest.raises(ConfigError, match="contract"):
        load_settings(MonitorSettings, {"teacher": GOOD["teacher"]}, "proctord.toml")


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROCTORD_SAMPLING__RANDOM_RATE", "0.2")
    assert load(sampling={"random_rate": 0.1}).sampling.random_rate == 0.2


def test_a_table_that_nobody_knows_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(ConfigError, match="did you mean `teacher`"):
        refuse_unknown({"teachr": {}}, (MonitorSettings, RetrainSettings), "proctord.toml")


def test_a_mistyped_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROCTORD_SAMPLIN__RANDOM_RATE", "0.2")
    with pytest.raises(ConfigError, match="did you mean `sampling`"):
        refuse_unknown(GOOD, (MonitorSettings, RetrainSettings), "proctord.toml")


def test_what_was_accepted_is_not_changed_by_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROCTORD_CONTRACT__TOLERANCE", "0.9")
    with pytest.raises(ConfigError, match="file alone"):
        refuse_unknown(GOOD, (MonitorSettings, RetrainSettings), "proctord.toml")


def test_no_fault_repeats_a_value_that_may_be_a_secret() -> None:
    with pytest.raises(ConfigError) as refused:
        load(teacher={"kind": "http", "http": {"base_url": 1, "api_key": "hunter2"}})
    assert "hunter2" not in str(refused.value)
