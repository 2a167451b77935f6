"""Where students are kept, and the file that says which of them serves.

    <root>/artefacts/<sha256 of the manifest>/    one immutable directory a student
    <root>/runs/<run id>/                         what a run was given, and what it left
    <root>/champion.json                          the pointer that a server of the student reads

The journal is the truth about the champion. The pointer is a copy for readers without a
database: it is whole at every moment, it may lag after a crash, and `repair` brings it up.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec
import sqlalchemy as sa

from retrain import artefact, store
from retrain.durable import replace_bytes
from retrain.store import Champion
from schemas.errors import ArtefactError, ConflictError
from schemas.journal import reader, record_audit


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Why the champion changes, as it will stand in the audit."""

    action: Literal["promote", "rollback"]
    actor: str
    reason: str
    at: float


class Registry:
    """The directories and the pointer of one lane.

    Parameters
    ----------
    root: a directory on one file system; created when missing.
    verify: checks every byte of an artefact's directory, raises ArtefactError.
    """

    def __init__(
        self, root: Path, lane: str, verify: Callable[[Path], object] = artefact.verify
    ) -> None:
        self.root = root
        self.lane = lane
        self.artefacts = root / "artefacts"
        self.runs = root / "runs"
        self._verify = verify
        for directory in (self.artefacts, self.runs):
            directory.mkdir(parents=True, exist_ok=True)

    @property
    def pointer(self) -> Path:
        """The file that says which artefact serves."""
        return self.root / "champion.json"

    def check(self, artefact_id: str) -> Path:
        """Return an artefact's directory after reading every byte of it.

        Raises
        ------
        ArtefactError: it is not there, or not what its manifest says.
        """
        path = artefact.locate(self.artefacts, artefact_id)
        self._verify(path)
        return path

    def intact(self, artefact_id: str) -> bool:
        """Say whether an artefact could serve, after reading every byte of it."""
        try:
            self.check(artefact_id)
        except ArtefactError:
            return False
        return True

    def install(
        self, connection: sa.Connection, artefact_id: str, instead_of: str, change: Change
    ) -> Champion:
        """Make an artefact the next version of the champion, in the caller's transaction.

        After the commit the caller calls `repair`: a pointer that was moved first would name a
        champion that a transaction which did not commit never had.

        Raises
        ------
        ConflictError: another artefact than `instead_of` ("": none) serves by now.
        """
        history = store.champions(connection, self.lane)
        serving = history[-1].artefact_id if history else ""
        if serving != instead_of:
            raise ConflictError(
                f"{serving[:12] or 'nobody'} serves lane {self.lane} by now, not "
                f"{instead_of[:12] or 'nobody'}",
                next_step="look at `proctord models`, then decide again",
            )
        champion = Champion(
            lane=self.lane,
            version=history[-1].version + 1 if history else 1,
            artefact_id=artefact_id,
            since=change.at,
            actor=change.actor,
            reason=change.reason,
        )
        store.install_champion(connection, champion)
        record_audit(
            connection,
            now=change.at,
            actor=change.actor,
            action=change.action,
            subject=artefact_id,
            reason=change.reason,
            detail={"lane": self.lane, "version": champion.version, "before": serving},
        )
        return champion

    def roll_back(
        self, connection: sa.Connection, previous: str, instead_of: str, change: Change
    ) -> Champion:
        """Install the predecessor; the run that promoted the champion ends as rolled back.

        From then on its dataset is barred and the lane cools down.

        Raises
        ------
        ConflictError: another artefact than `instead_of` serves by now.
        """
        champion = self.install(connection, previous, instead_of, change)
        run = store.promoted_run(connection, self.lane, instead_of)
        if run is not None:
            ended = msgspec.structs.replace(
                run, state="rolled_back", updated_at=change.at, failure=change.reason
            )
            store.save_run(connection, ended)
        return champion

    def repair(self, engine: sa.Engine) -> Champion | None:
        """Make the pointer say what the journal says; return the champion.

        The journal is read under the lock: of two processes that repair at once, the one that
        writes last has also read last.
        """
        with self._lock(), reader(engine).connect() as connection:
            history = store.champions(connection, self.lane)
            champion = history[-1] if history else None
            if champion is not None and champion != self.pointed():
                replace_bytes(self.pointer, msgspec.json.encode(champion))
            return champion

    def pointed(self) -> Champion | None:
        """Return what the pointer says; None: there is none, or a reader could not use it."""
        try:
            return msgspec.json.decode(self.pointer.read_bytes(), type=Champion)
        except (OSError, msgspec.MsgspecError):
            return None

    def sweep(self) -> list[str]:
        """Delete what a crash left half-made, and say what.

        Only while no child is at work: a draft is half-made until it is renamed. Whole artefacts
        that the journal does not know stay: after a journal was restored from a backup they are
        the only copies, and nothing serves them unless somebody registers them.
        """
        drafts = [p for p in self.artefacts.iterdir() if p.name.startswith(".")]
        drafts += [p for p in self.runs.iterdir() if p.name.startswith(".")]
        drafts += self.root.glob(".champion.json.*.tmp")
        for path in drafts:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        return sorted(p.name for p in drafts)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with (self.root / ".lock").open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
