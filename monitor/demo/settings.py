"""The settings file of a box: a real `proctord.toml`, so that the other commands understand it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from monitor.demo.customers import TEACHER_USD, Scenario
from monitor.demo.teacher_server import MODEL

#: the loss that the shop accepted
TOLERANCE: Final = 0.15


def write_settings(root: Path, scenario: Scenario, *, url: str, seed: int, threads: int) -> Path:
    """Write `proctord.toml` below `root`; return its path."""
    labels = ", ".join(json.dumps(label) for label in scenario.taxonomy)
    most = max([TEACHER_USD, *(row.teacher.cost_usd for row in scenario.stream)])
    text = f"""\
# The box of `proctord demo`. The teacher's address is gone when the demo has ended.
[journal]
url = "sqlite:///{root.absolute()}/proctord.db"

[contract]
tolerance = {TOLERANCE}
non_inferiority_margin = 0.02
cool_down_seconds = 1800.0
min_new_labels = 600

[task]
labels = [{labels}]

[source]
root = "{root.absolute()}/events"

[pipeline]
segment_by = ["channel"]

[sampling]
random_rate = 0.15
requested_rate = 0.5

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
epochs = 8.0
epochs_warm = 4.0

[alerts]
instance = "shop-in-a-box"
repeat_seconds = 86400.0

[alerts.channels.terminal]
kind = "stdout"
"""
    path = root / "proctord.toml"
    path.write_text(text, encoding="utf-8")
    return path
