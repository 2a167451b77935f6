"""The settings file of a box: a real `proctord.toml`, so that the other commands understand it."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from monitor.demo.customers import TEACHER_USD, Scenario
from monitor.demo.teacher_server import MODEL


class BoxRules(msgspec.Struct, frozen=True, kw_only=True):
    """What was accepted in this box, how much is asked, and how its student is taught."""

    #: the loss that the shop accepted
    tolerance: float = 0.15
    #: the errors of its teacher that it accepted, and the share of labels that people check
    teacher_tolerance: float = 0.10
    gold_rate: float = 0.4
    random_rate: float = 0.15
    requested_rate: float = 0.5
    min_new_labels: int = 600
    #: keys of `[retrain.teaching]`
    teaching: dict[str, float | str] = msgspec.field(
        # short tickets of a small grammar
        default_factory=lambda: {"epochs": 2.0}
    )


def taught_from(base: Path) -> dict[str, float | str]:
    """Return `[retrain.teaching]` for a student that starts from a pretrained encoder.

    Only its top layer is taught, which suffices for short tickets and takes seconds.
    """
    return {
        "base": str(base),
        "taught_layers": 1,
        "epochs": 1.5,
        "epochs_warm": 1.5,
        "learning_rate": 2e-3,
        "learning_rate_warm": 2e-3,
    }


def write_settings(
    root: Path, scenario: Scenario, rules: BoxRules, *, url: str, seed: int, threads: int
) -> Path:
    """Write `proctord.toml` below `root`; return its path."""
    labels = ", ".join(json.dumps(label) for label in scenario.taxonomy)
    teaching = "\n".join(f"{key} = {json.dumps(value)}" for key, value in rules.teaching.items())
    most = max([TEACHER_USD, *(row.teacher.cost_usd for row in scenario.stream)])
    text = f"""\
# The box of `proctord demo`. The teacher's address is gone when the demo has ended.
[journal]
url = "sqlite:///{root.absolute()}/proctord.db"

[contract]
tolerance = {rules.tolerance}
teacher_tolerance = {rules.teacher_tolerance}
non_inferiority_margin = 0.02
cool_down_seconds = 1800.0
min_new_labels = {rules.min_new_labels}

[task]
labels = [{labels}]

[source]
root = "{root.absolute()}/events"

[pipeline]
segment_by = ["channel"]

[sampling]
random_rate = {rules.random_rate}
requested_rate = {rules.requested_rate}

[gold]
rate = {rules.gold_rate}

[teacher]
concurrency = 4
batch = 256

[teacher.http]
base_url = "{url}"
model = "{MODEL}"
most_usd_per_call = {most}

[registry]
root = "{root.absolute()}/registry"

[retrain]
lane = "shop"
seed = {seed}
threads = {threads}

[retrain.teaching]
{teaching}

[alerts]
instance = "shop-in-a-box"
repeat_seconds = 86400.0

[alerts.channels.terminal]
kind = "stdout"
"""
    path = root / "proctord.toml"
    path.write_text(text, encoding="utf-8")
    return path
