"""`python -m retrain.worker RUN_DIR`: the training child.

Exit codes: 0 done; 1 failed, `result.json` says why, or fenced, then nothing was registered;
64 wrong usage; 75 asked to stop, start it again and it goes on.
"""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from pathlib import Path

from retrain.order import WorkOrder, WorkResult
from retrain.worker.heartbeat import Pulse
from retrain.worker.run import finish, name_of, read_order, run
from schemas.errors import FencedError, HeldElsewhereError, ProctordError

USAGE = 64


def main(argv: list[str]) -> int:
    """Carry out the order in the directory given; return the exit code."""
    if len(argv) != 1 or not Path(argv[0]).is_dir():
        sys.stderr.write("usage: python -m retrain.worker RUN_DIR\n")
        return USAGE
    run_dir = Path(argv[0]).resolve()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        order = read_order(run_dir)
    except ProctordError as error:
        sys.stderr.write(f"{error}\n")
        finish(run_dir, _failed(*name_of(run_dir), error))
        return error.exit_code
    return _carry_out(run_dir, order, stop)


def _carry_out(run_dir: Path, order: WorkOrder, stop: threading.Event) -> int:
    try:
        with Pulse(run_dir / "heartbeat.json", order.epoch) as pulse:
            result = run(run_dir, order, pulse, stop.is_set)
            pulse.phase = "done"
        finish(run_dir, result)
    except (FencedError, HeldElsewhereError) as error:
        # neither is a failure of the run: no result, so that its owner decides what comes next
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - whatever it was, the daemon must learn of it
        traceback.print_exc()
        finish(run_dir, _failed(order.run_id, order.epoch, error))
        return 1
    return 0


def _failed(run_id: str, epoch: int, error: Exception) -> WorkResult:
    failure = f"{type(error).__name__}: {error}"
    if isinstance(error, ProctordError):
        failure = error.clause
    return WorkResult(run_id=run_id, epoch=epoch, ok=False, failure=failure)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
