"""What `proctord models` says: every student, and one with the gates that its run went through."""

from __future__ import annotations

from typing import Protocol

from monitor.alerts.figures import plain, utc
from schemas.runs import GateResult, Run


class Student(Protocol):
    """A student of the registry, as the other program knows it."""

    @property
    def artefact_id(self) -> str:
        """Its name: the hash of its manifest."""

    @property
    def run_id(self) -> str:
        """The run that made it."""

    @property
    def parent(self) -> str:
        """The champion when it was made; "" for none."""

    @property
    def created_at(self) -> float:
        """When it was registered, seconds UTC."""

    @property
    def serving(self) -> int | None:
        """The champion's version while it serves."""

    @property
    def served_until(self) -> float | None:
        """When it was replaced, if it ever served and does not now, seconds UTC."""

    @property
    def state(self) -> str:
        """How the run that made it stands."""


def line(student: Student) -> str:
    """Return a student as a line of the list."""
    return (
        f"{student.artefact_id[:16]}  {utc(student.created_at)}  {_standing(student):12}  "
        f"run {plain(student.run_id, 100)}"
    )


def rows(student: Student, run: Run | None) -> list[tuple[str, str]]:
    """Return one student as (title, words), with the gates of the run that made it."""
    verdict = run.verdict if run else None
    return [
        ("student", student.artefact_id),
        ("state", _standing(student)),
        ("made", f"{utc(student.created_at)}, beside {student.parent[:12] or 'no champion'}"),
        ("run", _run(student, run)),
        *((f"gate {gate.gate}", _gate(gate)) for gate in (verdict.gates if verdict else ())),
        *([] if verdict else [("gates", "none has spoken yet")]),
        *([("contract", verdict.contract)] if verdict and verdict.contract else []),
        *([("because", run.failure)] if run and run.failure else []),
        ("next", _next_step(student)),
    ]


def _standing(student: Student) -> str:
    if student.serving is not None:
        return "serves"
    if student.served_until is not None:
        return f"served until {utc(student.served_until)}"
    return student.state


def _run(student: Student, run: Run | None) -> str:
    if run is None:
        return f"{student.run_id}, of which the journal knows nothing"
    return f"{run.run_id} is {run.state}, asked for by {run.actor} ({run.rule}): {run.reason}"


def _gate(gate: GateResult) -> str:
    return f"{gate.outcome}: {gate.reason}"


def _next_step(student: Student) -> str:
    promote = f'`proctord promote {student.artefact_id[:12]} --reason "..."`'
    if student.serving is not None:
        return 'nothing; `proctord rollback --reason "..."` brings the one before back'
    if student.state == "rolled_back":
        return "nothing: it was taken back"
    if student.served_until is not None:
        return f"nothing; {promote} lets it serve again"
    if student.state == "held":
        return f"if the gates above satisfy you, {promote}; else leave it"
    if student.state == "rejected":
        return (
            "nothing: the gates did not let it through. More labels of the traffic that moved, or "
            "a larger student, may be what is missing"
        )
    return "wait for the verdict: `proctord status`"
