"""One turn of the retraining loop: lead, repair, advance the run under way, decide, act.

Level-triggered and without a queue: each turn looks at the journal and at the disk and does the
next thing, so a process that is killed anywhere is taken up by the next one. Every write stands
under a lease: a leader that was replaced while it was frozen is refused by the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import sqlalchemy as sa

from retrain import evidence, orders, store
from retrain.config import RetrainTable
from retrain.order import LabelledRow, ScoredRow, WorkOrder, WorkResult
from retrain.policy import Request, decide
from retrain.registry import Change, Registry
from retrain.supervise import GaveUp, Supervisor, Working, read_order
from schemas.acceptance import stand
from schemas.accepting import last_acceptance
from schemas.contract import QualityContract
from schemas.decisions import Decision
from schemas.errors import ArtefactError, ConflictError, FencedError
from schemas.journal import Leadership, check_leadership, lead, reader, record_audit, resign
from schemas.runs import Run, RunState, Verdict

#: how proctord signs what it does by itself
ACTOR: Final = "proctord"
#: seconds that a lease lasts at least; it is renewed at every turn
LEASE: Final = 15.0
#: fresh random labels that another look at an inconclusive challenger takes at least: looking is
#: free of error, but starts a child
FRESH_AT_LEAST: Final = 100

Judge = Callable[[Sequence[ScoredRow], QualityContract], Verdict]


class RetrainLoop:
    """The retraining of one lane.

    Parameters
    ----------
    holder: names this process in the lease.
    judge: lets every gate speak, as often as it is asked about a challenger.
    clock: wall time, by which a training child is watched; seconds UTC.
    """

    def __init__(
        self,
        *,
        engine: sa.Engine,
        registry: Registry,
        supervisor: Supervisor,
        table: RetrainTable,
        contract: QualityContract,
        holder: str,
        judge: Judge,
        clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._registry = registry
        self._supervisor = supervisor
        self._table = table
        self._contract = contract
        self._holder = holder
        self._judge = judge
        self._clock = clock
        self._leadership: Leadership | None = None
        self._swept = False

    def once(self, now: float) -> Decision | None:
        """Take one turn; return what was decided, None while another process leads.

        Raises
        ------
        FencedError: another process took the lead during the turn; nothing more was written.
        """
        if not self._lead(now):
            return None
        # before anything is decided: a process that was killed between the journal's commit and
        # the pointer's rename left servers with the old champion
        self._registry.repair(self._engine)
        self._sweep()
        self._advance_all(now)
        self._settle_probation()
        decision = self._act(self.propose(now))
        self._advance_all(now)  # a run that was just asked for need not wait for the next turn
        return decision

    def propose(self, now: float, request: Request | None = None) -> Decision:
        """Decide, and do nothing about it."""
        with reader(self._engine).connect() as connection:
            situation = evidence.gather(
                connection,
                self._table.lane,
                contract=self._contract.hash,
                probation_labels=self._table.probation_labels,
                request=request,
                standing=stand(self._contract, last_acceptance(connection), now),
            )
        decision = decide(situation, self._contract, now)
        probation = situation.probation
        if decision.action != "rollback" or probation is None:
            return decision
        if self._registry.intact(probation.previous):
            return decision
        situation = msgspec.structs.replace(situation, probation=None)
        return decide(situation, self._contract, now)

    def request(self, decision: Decision, actor: str) -> Run:
        """Ask for a run, as a person who does not lead; the unique live run guards it."""
        with self._engine.begin() as connection:
            run = _new_run(connection, decision, actor)
            store.insert_run(connection, run)
            store.record_decision(connection, decision)
            record_audit(
                connection,
                now=decision.at,
                actor=actor,
                action="request_run",
                subject=run.run_id,
                reason=decision.reason,
            )
            return run

    @property
    def busy(self) -> bool:
        """Whether a child is at work, as far as the last turn saw."""
        return self._supervisor.busy

    def abandon(self) -> bool:
        """End the child at once: nobody goes on with its work; True once it is gone."""
        return self._supervisor.kill()

    def close(self) -> None:
        """Have the child checkpoint and go, and give the lease back."""
        self._supervisor.interrupt()
        if self._leadership is not None:
            with self._engine.begin() as connection:
                resign(connection, self._leadership)
            self._leadership = None

    # --- leading -----------------------------------------------------------------------------

    def _lead(self, now: float) -> bool:
        ttl = max(LEASE, 3 * self._table.tick_seconds)
        with self._engine.begin() as connection:
            name = f"retrain/{self._table.lane}"
            self._leadership = lead(connection, name, self._holder, now, ttl)
        return self._leadership is not None

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        if self._leadership is None:
            raise FencedError(f"{self._holder} does not lead the retraining")
        with self._engine.begin() as connection:
            check_leadership(connection, self._leadership)
            yield connection

    def _sweep(self) -> None:
        if self._swept:
            return
        with reader(self._engine).connect() as connection:
            busy = store.live_run(connection, self._table.lane) is not None
        if not busy:  # a child at work has a draft of its own
            self._registry.sweep()
            self._swept = True

    # --- the run under way -------------------------------------------------------------------

    def _advance_all(self, now: float) -> None:
        while self._advance(now):
            pass

    def _advance(self, now: float) -> bool:
        """Do the next thing for the live run; True when it changed its state."""
        with reader(self._engine).connect() as connection:
            run = store.live_run(connection, self._table.lane)
        if run is None:
            return False
        if run.state == "requested":
            return self._build(run, now)
        return self._gate(run, now) if run.state == "gated" else self._train(run, now)

    def _build(self, run: Run, now: float) -> bool:
        directory = self._directory(run)
        with reader(self._engine).connect() as connection:
            champion = store.serving(connection, run.lane)
            learned = orders.watermark(self._directory_of(connection, champion))
            newest = evidence.newest_ticket(connection, now)
            since = orders.recent_since(newest, self._table.recent_days, learned)
            order = self._order(run, champion, recent_since=since)
            orders.issue(directory, order, evidence.labelled_rows(connection))
        # what was issued before a kill stands, and its champion may be another than today's
        champion = read_order(directory).champion
        return self._save(_changed(run, now, state="building", champion=champion))

    def _train(self, run: Run, now: float) -> bool:
        outcome = self._supervise(run, self._directory(run), now)
        if isinstance(outcome, Working):
            return self._follow(run, outcome, now)
        if isinstance(outcome, GaveUp):
            return self._fail(run, outcome.reason, now)
        if not outcome.ok:
            return self._fail(run, outcome.failure, now)
        return self._take_in(run, outcome, now)

    def _supervise(self, run: Run, directory: Path, now: float) -> Working | WorkResult | GaveUp:
        # a child lives in wall time, also where `now` is a story's or a replay's
        wall = self._clock()
        return self._supervisor.turn(directory, wall, wall + self._deadline(run) - now)

    def _follow(self, run: Run, working: Working, now: float) -> bool:
        # `done` is a phase of the child; the run is evaluated until its result was taken in
        state: RunState = "evaluating" if working.phase == "done" else working.phase
        if (state, working.attempts) != (run.state, run.attempts):
            self._save(_changed(run, now, state=state, attempts=working.attempts))
        return False

    def _take_in(self, run: Run, result: WorkResult, now: float) -> bool:
        try:
            self._registry.check(result.artefact_id)
        except ArtefactError as error:
            return self._fail(run, error.clause, now)
        gated = _changed(
            run,
            now,
            state="gated",
            challenger=result.artefact_id,
            dataset=result.dataset,
            epoch=result.epoch,
        )
        with self._writing() as connection:
            if store.is_barred(connection, run.lane, result.dataset):
                reason = "a student of the same dataset was rolled back before"
                gated = msgspec.structs.replace(gated, state="rejected", failure=reason)
            store.register_artefact(connection, result.artefact_id, run, now)
            store.save_run(connection, gated)
        return True

    # --- the gate ----------------------------------------------------------------------------

    def _gate(self, run: Run, now: float) -> bool:
        done = orders.evaluations(self._directory(run))
        # also where its result is there already: the child that wrote it is still to be reaped
        outcome = self._supervise(run, done[-1], now)
        if isinstance(outcome, Working):
            return False
        if isinstance(outcome, GaveUp):
            return self._fail(run, outcome.reason, now)
        if not outcome.ok:
            return self._fail(run, outcome.failure, now)
        return self._weigh(run, done, now)

    def _weigh(self, run: Run, done: list[Path], now: float) -> bool:
        with reader(self._engine).connect() as connection:
            champion = store.serving(connection, run.lane)
        rows = orders.judged_against(done, champion)
        if not rows and champion != run.champion:
            return self._judge_again(run, done, champion, now)
        verdict = self._judge(rows, self._contract)
        run = self._note(run, verdict, champion, now)
        if verdict.outcome == "pass":
            return self._promote(run, verdict, now)
        if verdict.outcome == "fail":
            return self._reject(run, verdict.reason, now)
        return self._wait(run, verdict, done, now)

    def _judge_again(self, run: Run, done: list[Path], champion: str, now: float) -> bool:
        """Compare with the champion of now: what is not worse than the last one may be worse."""
        rows = list(orders.scored_labels(done))
        self._issue_scoring(run, done, champion, rows)
        return self._save(_changed(run, now, champion=champion, verdict=None))

    def _wait(self, run: Run, verdict: Verdict, done: list[Path], now: float) -> bool:
        if now >= self._deadline(run):
            return self._reject(run, f"inconclusive at the deadline: {verdict.reason}", now)
        after = max(orders.watermark(directory) for directory in done)
        with reader(self._engine).connect() as connection:
            if evidence.count_fresh(connection, after) < FRESH_AT_LEAST:
                return False
            rows = list(evidence.fresh_rows(connection, after))
        self._issue_scoring(run, done, run.champion, rows)
        return True

    def _issue_scoring(
        self, run: Run, done: list[Path], champion: str, rows: Sequence[LabelledRow]
    ) -> None:
        # every row is recent; JSON has no infinity
        order = self._order(run, champion, recent_since=0.0)
        order = msgspec.structs.replace(order, task="score", challenger=run.challenger)
        orders.issue(orders.next_evaluation(done[0]), order, rows)

    def _note(self, run: Run, verdict: Verdict, champion: str, now: float) -> Run:
        if verdict == run.verdict and champion == run.champion:
            return run
        noted = _changed(run, now, verdict=verdict, champion=champion)
        self._save(noted)
        return noted

    # --- ends --------------------------------------------------------------------------------

    def _promote(self, run: Run, verdict: Verdict, now: float) -> bool:
        try:
            self._registry.check(run.challenger)
        except ArtefactError as error:
            return self._fail(run, error.clause, now)
        try:
            # One transaction: a champion without its run's end would be promoted again, a run's
            # end without its champion never. Killed before the commit: the run is still gated.
            with self._writing() as connection:
                store.save_run(connection, self._let_through(connection, run, verdict, now))
        except ConflictError:
            return False  # another champion by now: the next turn judges against that one
        # Only now the pointer: killed before this line, the next turn's repair moves it.
        self._registry.repair(self._engine)
        return True

    def _let_through(
        self, connection: sa.Connection, run: Run, verdict: Verdict, now: float
    ) -> Run:
        """Install the challenger, or hold it for a person where proctord alone may not decide."""
        obstacles = self._obstacles(connection, now)
        if obstacles:
            return _held(run, obstacles, now)
        change = Change(action="promote", actor=ACTOR, reason=verdict.reason, at=now)
        self._registry.install(connection, run.challenger, run.champion, change)
        return _changed(run, now, state="promoted")

    def _obstacles(self, connection: sa.Connection, now: float) -> list[str]:
        """Say what lets proctord promote nothing by itself: the contract, the teacher."""
        standing = stand(self._contract, last_acceptance(connection), now)
        teacher = evidence.teacher(connection)
        found = [] if standing.in_force else [standing.words]
        if not teacher.verified:
            found.append(
                f"the teacher is not verified: {teacher.reason}. Next: {teacher.next_step}"
            )
        return found

    def _reject(self, run: Run, reason: str, now: float) -> bool:
        return self._save(_changed(run, now, state="rejected", failure=reason))

    def _fail(self, run: Run, reason: str, now: float) -> bool:
        return self._save(_changed(run, now, state="failed", failure=reason))

    def _settle_probation(self) -> None:
        with reader(self._engine).connect() as connection:
            champion = store.serving(connection, self._table.lane)
            run = store.promoted_run(connection, self._table.lane, champion)
            labels = evidence.count_drawn(connection, champion)
        if run is None or labels < self._table.probation_labels:
            return
        # `updated_at` stays: the lane cools down from the promotion on, not from here
        self._save(msgspec.structs.replace(run, state="kept"))

    # --- deciding ----------------------------------------------------------------------------

    def _act(self, decision: Decision) -> Decision:
        if decision.action == "rollback":
            return self._roll_back(decision)
        with self._writing() as connection:
            if decision.action == "retrain" and self._is_first(connection, decision):
                store.insert_run(connection, _new_run(connection, decision, ACTOR))
            store.record_decision(connection, decision)
        return decision

    def _is_first(self, connection: sa.Connection, decision: Decision) -> bool:
        """Claim a due time, so that no second process starts what this one starts."""
        if decision.rule != "cadence":
            return True
        last = store.last_run(connection, decision.lane)
        due = decision.figures["due_at"]
        due = max(due, last.updated_at + self._contract.cool_down_seconds) if last else due
        return store.claim(connection, f"cadence/{decision.lane}", due, decision.at)

    def _roll_back(self, decision: Decision) -> Decision:
        with reader(self._engine).connect() as connection:
            history = store.champions(connection, decision.lane)
        previous = store.predecessor(history)
        if previous is None:
            return decision
        self._registry.check(previous)
        change = Change(action="rollback", actor=ACTOR, reason=decision.reason, at=decision.at)
        with self._writing() as connection:
            self._registry.roll_back(connection, previous, history[-1].artefact_id, change)
            store.record_decision(connection, decision)
        self._registry.repair(self._engine)
        return decision

    # --- small things ------------------------------------------------------------------------

    def _save(self, run: Run) -> bool:
        with self._writing() as connection:
            store.save_run(connection, run)
        return True

    def _order(self, run: Run, champion: str, *, recent_since: float) -> WorkOrder:
        return WorkOrder(
            task="train",
            run_id=run.run_id,
            lane=run.lane,
            epoch=0,
            seed=self._table.seed,
            threads=self._table.threads,
            artefacts=str(self._registry.artefacts.resolve()),
            champion=champion,
            recent_since=recent_since,
            settings=self._table.teaching,
            contract=self._contract.hash,
        )

    def _directory(self, run: Run) -> Path:
        return self._registry.runs / run.run_id

    def _directory_of(self, connection: sa.Connection, artefact_id: str) -> Path:
        return self._registry.runs / (store.run_of(connection, artefact_id) or ".none")

    def _deadline(self, run: Run) -> float:
        return run.requested_at + self._table.deadline_seconds


def _changed(run: Run, now: float, **change: object) -> Run:
    return msgspec.structs.replace(run, updated_at=now, **change)


def _held(run: Run, obstacles: Sequence[str], now: float) -> Run:
    reason = (
        f"the challenger passed its gates, but {'; and '.join(obstacles)}; or "
        f'let it serve all the same: `proctord promote {run.challenger[:12]} --reason "..."`'
    )
    return _changed(run, now, state="held", failure=reason)


def _new_run(connection: sa.Connection, decision: Decision, actor: str) -> Run:
    when = datetime.fromtimestamp(decision.at, UTC).strftime("%Y%m%dT%H%M%S")
    number = store.count_runs(connection, decision.lane) + 1
    return Run(
        # the time keeps a new journal's first run apart from an old one's in the same registry
        run_id=f"{decision.lane}-{number}-{when}",
        lane=decision.lane,
        state="requested",
        rule=decision.rule,
        reason=decision.reason,
        actor=actor,
        requested_at=decision.at,
        updated_at=decision.at,
        champion=store.serving(connection, decision.lane),
    )
