"""A training child without training: `python _fake_worker.py RUN_DIR`.

`order.settings.base` says how it behaves: `ok`, `fail`, `hang` (beats, takes no step), `silent`
(no beat), `crash`, `oom` (killed until its budget is halved), `deaf` (hangs, ignores SIGTERM), `slow`;
then, after semicolons, `wrong=N` and `champion=N`: percent of the held-out rows that it and the
champion answer wrongly.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import msgspec

from retrain import artefact
from retrain.durable import replace_bytes
from retrain.order import Heartbeat, LabelledRow, ScoredRow, WorkOrder, WorkResult

RUN = Path(sys.argv[1])
ORDER = msgspec.json.decode((RUN / "order.json").read_bytes(), type=WorkOrder)
MODE, *PAIRS = ORDER.settings.base.split(";")
OPTIONS = {name: int(value) for name, value in (pair.split("=") for pair in PAIRS)}


def beat(phase: str, step: int = 0) -> None:
    heartbeat = Heartbeat(
        epoch=ORDER.epoch,
        pid=os.getpid(),
        at=time.time(),
        phase=phase,
        step=step,
        steps=10,
        loss=1.0,
        tokens_per_second=0.0,
        rss_bytes=0,
    )
    replace_bytes(RUN / "heartbeat.json", msgspec.json.encode(heartbeat))


def rows() -> list[LabelledRow]:
    lines = (RUN / "labels.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=LabelledRow) for line in lines]


def answer(row: LabelledRow, index: int, percent: int) -> str:
    return "wrong" if index % 100 < percent else row.output


def score(held: list[LabelledRow], part: str) -> None:
    champion = OPTIONS.get("champion", 30)
    scores = [
        ScoredRow(
            ticket_id=row.ticket_id,
            part=part,
            label=row.output,
            gold=row.gold,
            challenger=answer(row, i, OPTIONS.get("wrong", 0)),
            challenger_confidence=0.9,
            champion=answer(row, i, champion) if ORDER.champion else None,
            champion_confidence=0.9 if ORDER.champion else None,
            inclusion_probability=row.inclusion_probability,
        )
        for i, row in enumerate(held)
    ]
    lines = b"".join(msgspec.json.encode(s) + b"\n" for s in scores)
    replace_bytes(RUN / "scores.jsonl", lines)


def register() -> str:
    root = Path(ORDER.artefacts)
    draft = root / f".draft-{ORDER.run_id}-{os.getpid()}"
    draft.mkdir(parents=True)
    for name in artefact.REQUIRED:
        (draft / name).write_text(f'"{ORDER.run_id}"')
    lineage = artefact.Lineage(
        run_id=ORDER.run_id,
        lane=ORDER.lane,
        parent=ORDER.champion,
        dataset="d" * 64,
        contract=ORDER.contract,
        seed=0,
        steps=10,
        rows={},
        settings={},
        versions={},
    )
    artefact_id = artefact.seal(draft, lineage)
    now = msgspec.json.decode((RUN / "order.json").read_bytes(), type=WorkOrder)
    if now.epoch != ORDER.epoch:
        shutil.rmtree(draft)
        sys.exit(1)
    artefact.publish(draft, root, artefact_id)
    return artefact_id


def finish(**fields: object) -> None:
    result = WorkResult(run_id=ORDER.run_id, epoch=ORDER.epoch, **fields)
    replace_bytes(RUN / "result.json", msgspec.json.encode(result))
    sys.exit(0 if result.ok else 1)


def main() -> None:
    if MODE == "silent":
        time.sleep(60)
    if MODE == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
    beat("building")
    if MODE == "fail":
        finish(ok=False, failure="the loss is not finite")
    if MODE == "crash":
        sys.exit(9)
    if MODE == "oom" and ORDER.settings.token_budget > 1024:
        os.kill(os.getpid(), signal.SIGKILL)
    beat("training", 1)
    while MODE in ("hang", "deaf"):
        beat("training", 1)
        time.sleep(0.05)
    if MODE == "slow":
        for step in range(2, 10):
            beat("training", step)
            time.sleep(0.05)
    beat("evaluating")
    if ORDER.task == "score":
        score(rows(), "fresh")
        finish(ok=True, artefact_id=ORDER.challenger)
    every = rows()
    score(every[-max(1, len(every) * 15 // 100) :], "holdout_recent")
    artefact_id = register()
    finish(ok=True, artefact_id=artefact_id, dataset="d" * 63 + str(len(every) % 10))


main()
