"""The registry on a real disk and a real journal, killed in the middle of promotions."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from retrain import artefact, store
from retrain.registry import Change, Registry
from schemas import tables
from schemas.errors import ArtefactError, ConflictError
from schemas.journal import open_journal
from schemas.runs import Run

KILLS = {"sqlite": 100, "postgresql": 30}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry", "default")


def student(registry: Registry, name: str) -> str:
    draft = registry.artefacts / f".draft-{name}"
    draft.mkdir()
    for required in artefact.REQUIRED:
        (draft / required).write_text(f'"{name}"')
    lineage = artefact.Lineage(
        run_id=name,
        lane="default",
        parent="",
        dataset="",
        contract="",
        seed=0,
        steps=0,
        rows={},
        settings={},
        versions={},
    )
    artefact_id = artefact.seal(draft, lineage)
    artefact.publish(draft, registry.artefacts, artefact_id)
    return artefact_id


def change(reason: str = "a test") -> Change:
    return Change(action="promote", actor="anna", reason=reason, at=time.time())


def promote(engine: sa.Engine, registry: Registry, artefact_id: str, instead_of: str) -> None:
    with engine.begin() as connection:
        registry.install(connection, artefact_id, instead_of, change())
    registry.repair(engine)


def test_the_pointer_follows_the_journal(engine: sa.Engine, registry: Registry) -> None:
    assert registry.repair(engine) is None
    assert registry.pointed() is None
    first, second = student(registry, "one"), student(registry, "two")
    promote(engine, registry, first, "")
    promote(engine, registry, second, first)
    pointed = registry.pointed()
    assert pointed is not None
    assert (pointed.artefact_id, pointed.version) == (second, 2)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"lane": 1}'])
def test_a_pointer_that_was_damaged_is_repaired(
    damage: str, engine: sa.Engine, registry: Registry
) -> None:
    promote(engine, registry, student(registry, "one"), "")
    whole = registry.pointed()
    registry.pointer.write_text(damage)
    registry.repair(engine)
    assert registry.pointed() == whole


def test_each_change_is_audited(engine: sa.Engine, registry: Registry) -> None:
    first = student(registry, "one")
    promote(engine, registry, first, "")
    with engine.begin() as connection:
        row = connection.execute(sa.select(tables.audit)).one()
    assert (row.actor, row.action, row.subject, row.reason) == ("anna", "promote", first, "a test")
    assert row.detail == {"lane": "default", "version": 1, "before": ""}


def test_who_decided_on_another_champion_is_refused(engine: sa.Engine, registry: Registry) -> None:
    first, second = student(registry, "one"), student(registry, "two")
    promote(engine, registry, first, "")
    with pytest.raises(ConflictError, match="by now"):
        promote(engine, registry, second, "")
    with engine.begin() as connection:
        assert store.serving(connection, "default") == first
        assert connection.scalar(sa.select(sa.func.count()).select_from(tables.audit)) == 1


def test_of_two_promotions_at_once_one_wins(engine: sa.Engine, registry: Registry) -> None:
    first = student(registry, "one")
    promote(engine, registry, first, "")
    rivals = [student(registry, name) for name in ("two", "three")]
    together, refused = threading.Barrier(2), []

    def race(artefact_id: str) -> None:
        together.wait()
        try:
            promote(engine, registry, artefact_id, first)
        except ConflictError as error:
            refused.append(error)

    threads = [threading.Thread(target=race, args=(rival,)) for rival in rivals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    with engine.begin() as connection:
        served = store.champions(connection, "default")
    assert [c.version for c in served] == [1, 2]
    assert registry.pointed() == served[-1]


def test_a_changed_byte_is_noticed_before_it_serves(registry: Registry) -> None:
    artefact_id = student(registry, "one")
    assert registry.intact(artefact_id)
    (registry.artefacts / artefact_id / "model.safetensors").write_text('"eno"')
    assert not registry.intact(artefact_id)
    with pytest.raises(ArtefactError, match=r"model\.safetensors"):
        registry.check(artefact_id)


@pytest.mark.parametrize("name", ["../../etc", "", "A" * 64, "a" * 63, "a" * 64 + "/..", "a\0b"])
def test_a_name_that_could_be_a_path_is_refused(name: str, registry: Registry) -> None:
    with pytest.raises(ArtefactError):
        registry.check(name)


def test_a_link_to_elsewhere_is_refused(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (registry.artefacts / ("a" * 64)).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtefactError):
        registry.check("a" * 64)


def test_half_made_things_are_swept_and_whole_ones_stay(registry: Registry) -> None:
    whole = student(registry, "one")
    (registry.artefacts / ".draft-r1-7").mkdir()
    (registry.artefacts / ".draft-r1-7" / "model.safetensors").write_text("half")
    (registry.runs / ".r2").mkdir()
    (registry.root / ".champion.json.7.tmp").write_text("{")
    assert registry.sweep() == [".champion.json.7.tmp", ".draft-r1-7", ".r2"]
    assert [p.name for p in registry.artefacts.iterdir()] == [whole]


def test_a_rollback_ends_the_run_that_promoted(engine: sa.Engine, registry: Registry) -> None:
    first, second = student(registry, "one"), student(registry, "two")
    promote(engine, registry, first, "")
    promoted = Run(
        run_id="r1",
        lane="default",
        state="promoted",
        rule="level",
        reason="it drifted",
        actor="proctord",
        requested_at=1.0,
        updated_at=2.0,
        challenger=second,
        dataset="d1",
    )
    with engine.begin() as connection:
        store.insert_run(connection, promoted)
    promote(engine, registry, second, first)
    back = Change(action="rollback", actor="anna", reason="it is worse", at=50.0)
    with engine.begin() as connection:
        registry.roll_back(connection, first, second, back)
        run = store.last_run(connection, "default")
        assert store.is_barred(connection, "default", "d1")
    assert run is not None
    assert (run.state, run.updated_at, run.failure) == ("rolled_back", 50.0, "it is worse")


def promote_until_killed(url: str, root: Path, students: list[str], ready: int) -> None:
    """Change the champion as fast as it goes; run in a process of its own."""
    engine = open_journal(url)
    registry = Registry(root, "default")
    with engine.begin() as connection:
        serving = store.serving(connection, "default")
    while True:
        following = (
            students[(students.index(serving) + 1) % len(students)] if serving else students[0]
        )
        promote(engine, registry, following, serving)
        serving = following
        os.write(ready, b".")


def test_a_kill_in_the_middle_of_promotions_tears_nothing(
    url: str, engine: sa.Engine, registry: Registry
) -> None:
    students = [student(registry, name) for name in ("one", "two", "three")]
    engine.dispose()  # no connection of this process may be in the children
    chance = random.Random(7)
    lagging, versions = 0, 0
    kills = KILLS[engine.dialect.name]
    for _ in range(kills):
        ear, mouth = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                promote_until_killed(url, registry.root, students, mouth)
            finally:
                os._exit(1)
        os.close(mouth)
        assert os.read(ear, 1), "the child promoted nothing"
        time.sleep(chance.uniform(0.0, 0.03))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        os.close(ear)
        assert os.WIFSIGNALED(status), "the child ended by itself: a promotion failed"

        after_kill = registry.pointed()
        champion = registry.repair(engine)
        if champion is None:
            continue
        assert registry.pointer.read_bytes(), "never empty"
        # whole, or not there yet; at most one version behind
        behind = champion.version - (after_kill.version if after_kill else 0)
        assert behind in (0, 1)
        lagging += behind
        assert registry.pointed() == champion
        assert registry.intact(champion.artefact_id)
        with engine.begin() as connection:
            served = store.champions(connection, "default")
            audits = connection.scalar(sa.select(sa.func.count()).select_from(tables.audit))
        assert [c.version for c in served] == list(range(1, len(served) + 1))
        assert audits == len(served), "every promotion has its audit, and no other has"
        versions = champion.version
        engine.dispose()
    print(f"{kills} kills, {versions} promotions, {lagging} pointers that lagged and were repaired")
    assert versions >= kills
