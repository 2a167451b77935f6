"""The journal's SQL for the retraining program.

Every function works inside the caller's transaction, so that a caller shows which writes stand
or fall together, and checks its leadership first in the same transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec
import sqlalchemy as sa

from schemas import tables
from schemas.decisions import Decision
from schemas.errors import ConflictError, NotFoundError
from schemas.journal import add
from schemas.runs import LIVE_STATES, Run, RunState

#: states of runs that had a verdict: what they were trained on was learned, or refused
JUDGED: tuple[RunState, ...] = ("promoted", "kept", "rejected", "rolled_back")


class Champion(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a lane's champion; also the content of `champion.json`."""

    lane: str
    version: int
    artefact_id: str
    #: when it began to serve, seconds UTC
    since: float
    actor: str
    reason: str


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A registered artefact."""

    artefact_id: str
    lane: str
    run_id: str
    parent: str
    created_at: float
    #: the champion's version when it serves; None when it does not
    serving: int | None
    #: when it was replaced the last time, seconds UTC; None when it serves, or never did
    served_until: float | None
    #: how the run that made it stands
    state: str


# --- champions -----------------------------------------------------------------------------


def champions(connection: sa.Connection, lane: str) -> list[Champion]:
    """Return all that served, oldest first; the last one serves."""
    table = tables.champion
    rows = connection.execute(
        sa.select(table).where(table.c.lane == lane).order_by(table.c.version)
    )
    return [Champion(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name


def serving(connection: sa.Connection, lane: str) -> str:
    """Return the artefact that serves; "": none does."""
    table = tables.champion
    query = sa.select(table.c.artefact_id).where(table.c.lane == lane)
    return connection.scalar(query.order_by(table.c.version.desc()).limit(1)) or ""


def predecessor(history: Sequence[Champion]) -> str | None:
    """Return the artefact to go back to: a rollback is not undone by the next one.

    >>> served = [Champion(lane="x", version=v, artefact_id=a, since=0, actor="", reason="")
    ...           for v, a in enumerate("abca")]
    >>> predecessor(served[:3])  # c came after b
    'b'
    >>> predecessor(served) is None  # back at a, the first: c and b were left for good
    True
    """
    path: list[str] = []
    for champion in history:
        if champion.artefact_id in path:
            del path[path.index(champion.artefact_id) + 1 :]
        else:
            path.append(champion.artefact_id)
    return path[-2] if len(path) > 1 else None


def install_champion(connection: sa.Connection, champion: Champion) -> None:
    """Add the next version of a champion: a compare-and-swap on the version.

    Raises
    ------
    ConflictError: somebody added this version first.
    """
    if not add(connection, tables.champion, msgspec.structs.asdict(champion)):
        raise ConflictError(
            f"lane {champion.lane} got its version {champion.version} from somebody else meanwhile",
            next_step="look at `proctord models`, then decide again",
        )


# --- artefacts -----------------------------------------------------------------------------


def register_artefact(connection: sa.Connection, artefact_id: str, run: Run, now: float) -> None:
    """Note that an artefact's bytes were verified; noting it twice changes nothing."""
    row = {
        "artefact_id": artefact_id,
        "lane": run.lane,
        "run_id": run.run_id,
        "parent": run.champion,
        "created_at": now,
    }
    add(connection, tables.artefact, row)


def models(connection: sa.Connection, lane: str) -> list[Model]:
    """Return a lane's artefacts, newest first."""
    history = champions(connection, lane)
    champion = {c.artefact_id: c.version for c in history[-1:]}
    replaced = {old.artefact_id: new.since for old, new in pairwise(history)}
    table = tables.artefact
    query = (
        sa.select(table, tables.run.c.state)
        .outerjoin(tables.run, tables.run.c.run_id == table.c.run_id)
        .where(table.c.lane == lane)
        .order_by(table.c.created_at.desc(), table.c.artefact_id)
    )
    return [
        Model(
            artefact_id=row.artefact_id,
            lane=row.lane,
            run_id=row.run_id,
            parent=row.parent,
            created_at=row.created_at,
            serving=champion.get(row.artefact_id),
            served_until=None if row.artefact_id in champion else replaced.get(row.artefact_id),
            state=row.state or "",
        )
        for row in connection.execute(query)
    ]


def find_model(connection: sa.Connection, lane: str, prefix: str) -> Model:
    """Return the one artefact of a lane whose id begins so.

    Raises
    ------
    NotFoundError: none does, or several do.
    """
    found = [m for m in models(connection, lane) if prefix and m.artefact_id.startswith(prefix)]
    if len(found) != 1:
        how_many = "no artefact begins" if not found else f"{len(found)} artefacts begin"
        raise NotFoundError(
            f"{how_many} with {prefix[:64]!r} in lane {lane}",
            next_step="`proctord models` lists them",
        )
    return found[0]


# --- runs ----------------------------------------------------------------------------------


def insert_run(connection: sa.Connection, run: Run) -> None:
    """Add a run.

    Raises
    ------
    ConflictError: another run of the lane is under way.
    """
    if not add(connection, tables.run, _run_columns(run)):
        raise ConflictError(
            f"a run of lane {run.lane} is under way", next_step="`proctord status` shows it"
        )


def save_run(connection: sa.Connection, run: Run) -> None:
    """Replace a run's row.

    Raises
    ------
    NotFoundError: there is no such run.
    """
    table = tables.run
    statement = sa.update(table).where(table.c.run_id == run.run_id).values(**_run_columns(run))
    if connection.execute(statement).rowcount == 0:
        raise NotFoundError(f"there is no run {run.run_id}")


def judged_run(connection: sa.Connection, lane: str) -> Run | None:
    """Return the run of a lane that had a verdict last."""
    return _one_run(connection, lane, tables.run.c.state.in_(JUDGED))


def live_run(connection: sa.Connection, lane: str) -> Run | None:
    """Return the run of a lane that is under way."""
    return _one_run(connection, lane, tables.run.c.state.in_(LIVE_STATES))


def last_run(connection: sa.Connection, lane: str) -> Run | None:
    """Return the run of a lane that ended last."""
    return _one_run(connection, lane, tables.run.c.state.not_in(LIVE_STATES))


def count_runs(connection: sa.Connection, lane: str) -> int:
    """Return how many runs a lane ever had."""
    table = tables.run
    query = sa.select(sa.func.count()).select_from(table).where(table.c.lane == lane)
    return int(connection.scalar(query) or 0)


def promoted_run(connection: sa.Connection, lane: str, artefact_id: str) -> Run | None:
    """Return the run that promoted this artefact and is on probation."""
    run = _one_run(connection, lane, tables.run.c.state == "promoted")
    return run if run is not None and run.challenger == artefact_id else None


def find_run(connection: sa.Connection, run_id: str) -> Run | None:
    """Return a run by its id; None: there is none."""
    table = tables.run
    body = connection.scalar(sa.select(table.c.body).where(table.c.run_id == run_id))
    return None if body is None else msgspec.json.decode(body, type=Run)


def run_of(connection: sa.Connection, artefact_id: str) -> str | None:
    """Return the id of the run that made an artefact."""
    table = tables.artefact
    return connection.scalar(sa.select(table.c.run_id).where(table.c.artefact_id == artefact_id))


def is_barred(connection: sa.Connection, lane: str, dataset: str) -> bool:
    """Say whether a student of this dataset was rolled back before."""
    table = tables.run
    bodies = connection.scalars(
        sa.select(table.c.body).where(table.c.lane == lane, table.c.state == "rolled_back")
    )
    return any(msgspec.json.decode(body, type=Run).dataset == dataset for body in bodies)


def _one_run(connection: sa.Connection, lane: str, condition: Any) -> Run | None:
    table = tables.run
    body = connection.scalar(
        sa.select(table.c.body)
        .where(table.c.lane == lane, condition)
        .order_by(table.c.updated_at.desc(), table.c.run_id.desc())
        .limit(1)
    )
    return None if body is None else msgspec.json.decode(body, type=Run)


def _run_columns(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "lane": run.lane,
        "state": run.state,
        "requested_at": run.requested_at,
        "updated_at": run.updated_at,
        "body": msgspec.json.encode(run),
    }


# --- decisions and due times ---------------------------------------------------------------


def record_decision(connection: sa.Connection, decision: Decision) -> bool:
    """Add a decision if its action or rule differs from the lane's last one; say whether."""
    table = tables.decision
    last = connection.execute(
        sa.select(table.c.action, table.c.rule)
        .where(table.c.lane == decision.lane)
        .order_by(table.c.id.desc())
        .limit(1)
    ).one_or_none()
    if last is not None and (last.action, last.rule) == (decision.action, decision.rule):
        return False
    connection.execute(
        sa.insert(table).values(
            at=decision.at,
            lane=decision.lane,
            action=decision.action,
            rule=decision.rule,
            body=msgspec.json.encode(decision),
        )
    )
    return True


def claim(connection: sa.Connection, name: str, due_at: float, now: float) -> bool:
    """Take a due time; False: it was taken before, and what it stands for was done."""
    return add(connection, tables.schedule, {"name": name, "due_at": due_at, "claimed_at": now})
