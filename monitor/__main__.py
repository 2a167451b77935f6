"""The command line: `proctord`. The one file that sees both programs.

Data goes to stdout and talk to stderr. Exit codes: 0 ok, 1 failure, 2 usage, 69 a dependency is
down, 75 held by another process, 78 configuration or schema. Heavy modules are imported inside
the commands that need them, so that `proctord --help` answers at once.

Long because every command stands here; none does more than read words, call one thing and print.
"""

from __future__ import annotations

import errno
import getpass
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, NoReturn

import typer

from schemas.errors import NotFoundError, ProctordError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from monitor.config import MonitorSettings
    from retrain.app import RetrainApp
    from retrain.config import RetrainSettings

app = typer.Typer(
    name="proctord",
    help="Keeps a distilled student honest.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
dlq = typer.Typer(help="Messages that could not be used, with their bytes.", no_args_is_help=True)
source = typer.Typer(help="Where events are read from, and how far.", no_args_is_help=True)
db = typer.Typer(help="The journal's schema.", no_args_is_help=True)
labels = typer.Typer(help="The teacher's answers.", no_args_is_help=True)
gold = typer.Typer(help="People's answers, and what they say of the teacher.", no_args_is_help=True)
contract = typer.Typer(help="The quality loss that was accepted.", no_args_is_help=True)
app.add_typer(dlq, name="dlq")
app.add_typer(source, name="source")
app.add_typer(db, name="db")
app.add_typer(labels, name="labels")
app.add_typer(gold, name="gold")
app.add_typer(contract, name="contract")

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", envvar="PROCTORD_CONFIG", help="The settings file.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document, for machines.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why: it stands in the audit.")]
ByOption = Annotated[str, typer.Option("--by", help="Who does it: it stands in the audit.")]
DEFAULT_CONFIG = Path("proctord.toml")
#: what a daemon turns, unless it is told `--only`
LOOPS = ("consume", "label", "embed", "evaluate", "notify", "retrain")
#: characters of a text that are printed in one line
LONGEST = 10_000


def _say_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        from importlib.metadata import version

        typer.echo(f"proctord {version('proctord')}")
        raise typer.Exit


@app.callback()
def _program(
    _: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_say_version, help="Say which proctord this is."
        ),
    ] = False,
) -> None:
    """Options of no command."""


class House(NamedTuple):
    """Both programs' settings, and the journal they meet in."""

    monitor: MonitorSettings
    retrain: RetrainSettings
    engine: sa.Engine

    @property
    def lane(self) -> str:
        """Name of the student's task."""
        return self.retrain.retrain.lane

    def retraining(self) -> RetrainApp:
        """Wire the retraining program."""
        from retrain.app import build

        return build(self.retrain, self.engine, time.time)


def load(config: Path) -> tuple[MonitorSettings, RetrainSettings]:
    """Read both programs' settings from one file.

    Raises
    ------
    ConfigError: the file, a table or a key is at fault.
    """
    from monitor.config import MonitorSettings
    from retrain.config import RetrainSettings
    from schemas.settings import load_settings, read_file, refuse_unknown

    document = read_file(config)
    refuse_unknown(document, (MonitorSettings, RetrainSettings))
    return load_settings(MonitorSettings, document), load_settings(RetrainSettings, document)


def enter(config: Path, *, create: bool = False) -> House:
    """Read the settings and open the journal; who only looks does not `create` one.

    Raises
    ------
    ConfigError, NotFoundError, SchemaMismatchError, DependencyDownError
    """
    from schemas.journal import check_schema, ensure_schema, open_journal

    monitor, retrain = load(config)
    engine = open_journal(monitor.journal.url)
    (ensure_schema if create else check_schema)(engine)
    return House(monitor, retrain, engine)


# --- the daemon ------------------------------------------------------------------------------


@app.command()
def run(
    config: ConfigOption = DEFAULT_CONFIG,
    only: Annotated[
        str, typer.Option(help="Loops to run here, separated by commas; default: all.")
    ] = ",".join(LOOPS),
) -> None:
    """Watch, tell, retrain: the daemon. SIGTERM drains and ends it; a second one ends it now."""
    from monitor.daemon import serve

    house = enter(config, create=True)
    wanted = frozenset(part.strip() for part in only.split(","))
    if not wanted <= set(LOOPS):
        raise typer.BadParameter(f"--only takes {', '.join(sorted(LOOPS))}")
    serve(
        house.monitor,
        house.engine,
        lane=house.lane,
        only=wanted,
        retraining=house.retraining() if "retrain" in wanted else None,
    )


@app.command()
def replay(
    files: Annotated[Path, typer.Argument(help="Directory with tickets/, answers/, feedback/.")],
    config: ConfigOption = DEFAULT_CONFIG,
    answers: Annotated[
        Path | None,
        typer.Option("--labels", help="Recorded teacher answers: {id, text, teacher: {label}}."),
    ] = None,
) -> None:
    """Run the same core on history, under a virtual clock: prints signals and decisions."""
    from monitor.backtest import run_backtest
    from retrain.backtest import JournalPolicy

    monitor, retrain = load(config)
    counted = run_backtest(
        files,
        monitor,
        lane=retrain.retrain.lane,
        labels=answers,
        policy=lambda engine: JournalPolicy(engine, retrain),
        write=typer.echo,
    )
    typer.echo(f"{counted.records:,} events, {counted.labels:,} labels", err=True)
    if counted.from_future:
        typer.echo(
            f"dated more than a month after the others: {counted.from_future:,} of them. A clock was "
            "wrong, or nothing came for so long: they were not judged as of the time they state",
            err=True,
        )


@app.command()
def demo(
    tickets: Annotated[
        Path | None,
        typer.Option(help="Recorded tickets {id, text, teacher: {label, ...}, gold?} to run on."),
    ] = None,
    history: Annotated[
        int | None, typer.Option(help="With --tickets: how many of them taught the first student.")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Leave the state here, for the other commands.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of disagreement that is accepted.")
    ] = 0.15,
    base: Annotated[
        Path | None,
        typer.Option(
            help="A pretrained encoder to teach the student from; default: a tiny new one."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed tells the same story.")] = 7,
    as_json: JsonOption = False,
) -> None:
    """Show the whole loop in a shop in a box, in about a minute."""
    from monitor.demo.settings import BoxRules, taught_from
    from monitor.demo.show import show
    from retrain.app import build

    rules = BoxRules(tolerance=tolerance)
    if base is not None:
        rules = BoxRules(tolerance=tolerance, teaching=taught_from(base.resolve()))

    show(
        tickets=tickets,
        history=history,
        keep=keep,
        seed=seed,
        as_json=as_json,
        load=load,
        build=build,
        rules=rules,
    )


# --- looking ---------------------------------------------------------------------------------


@app.command()
def status(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """How things are: student, quality, retraining, alerts, events, money."""
    from monitor import status as page
    from schemas.journal import reader

    house = enter(config)
    with reader(house.engine).begin() as connection:
        found = page.gather(
            connection,
            now=time.time(),
            lane=house.lane,
            contract=house.monitor.contract,
            stale_after=house.monitor.evaluation.stale_seconds,
        )
    if as_json:
        _print_json(page.as_json(found))
    else:
        _print_rows(page.rows(found))


@app.command()
def quality(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """How often each student disagrees with the teacher, segment by segment, with intervals."""
    import msgspec

    from monitor import quality_page
    from monitor.loops import situation
    from schemas.journal import reader

    house = enter(config)
    with reader(house.engine).begin() as connection:
        champion = situation.champion(connection, house.lane).artefact_id
        found = quality_page.gather(connection, champion)
    if as_json:
        _print_json(msgspec.to_builtins(found))
        return
    for line in quality_page.lines(found):
        typer.echo(line)


@app.command("check-config")
def check_config(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Read the settings and say what they come to; nothing is opened."""
    from monitor import agreement
    from monitor.app import make_channels, make_embedder
    from schemas.journal import open_journal

    monitor, retrain = load(config)
    engine = open_journal(monitor.journal.url)
    monitor.sampling.salt()
    make_channels(monitor)
    make_embedder(monitor.drift)
    _print_rows(
        [
            ("file", f"{config} is fine"),
            ("journal", engine.url.render_as_string(hide_password=True)),
            ("source", monitor.source.kind),
            ("teacher", monitor.teacher.kind),
            ("embedder", monitor.drift.embedder.model if monitor.drift.embedder else "off"),
            ("contract", agreement.one_line(monitor.contract, time.time())),
            ("registry", str(retrain.registry.root)),
            ("lane", retrain.retrain.lane),
            ("channels", ", ".join(monitor.alerts.channels)),
        ]
    )


@app.command()
def doctor(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Try everything the daemon needs, and say what is missing and how to get it."""
    from monitor.doctor import examine

    monitor, retrain = load(config)
    findings = examine(monitor, registry=retrain.registry.root, python=retrain.retrain.python)
    for finding in findings:
        typer.echo(finding.line())
    worst = max((finding.exit_code for finding in findings), default=0)
    if worst:
        raise typer.Exit(worst)


@app.command()
def alerts(
    config: ConfigOption = DEFAULT_CONFIG,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """What fires, and what fired lately."""
    import msgspec

    from monitor.alerts.figures import named, plain, utc
    from monitor.store.notifying import recent_alerts
    from schemas.journal import reader

    house = enter(config)
    with reader(house.engine).begin() as connection:
        found = recent_alerts(connection, limit)
    if as_json:
        _print_json(msgspec.to_builtins(found))
        return
    for alert in found:
        condition = alert.condition
        typer.echo(
            f"{alert.state:8} {condition.severity:4} {named(condition)}  {utc(alert.started_at)}"
        )
        typer.echo(f"    {plain(condition.summary, LONGEST)}")
    if not found:
        typer.echo("no alert yet", err=True)


@dlq.command("list")
def dlq_list(
    config: ConfigOption = DEFAULT_CONFIG,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 50,
) -> None:
    """One line for each dead letter: where it came from and what is wrong with it."""
    from monitor.alerts.figures import plain, utc
    from monitor.store.reading import dead_letters
    from schemas.journal import reader

    house = enter(config)
    with reader(house.engine).begin() as connection:
        found = dead_letters(connection, limit=limit)
    for letter in found:
        words = plain(f"{letter.place}@{letter.offset}  {letter.message}", LONGEST)
        typer.echo(f"{letter.id:6}  {utc(letter.at)}  {letter.stage:8}  {words}")
    if not found:
        typer.echo("no dead letters", err=True)


@dlq.command("show")
def dlq_show(
    letter_id: Annotated[int, typer.Argument(help="The id that `dlq list` gives.")],
    config: ConfigOption = DEFAULT_CONFIG,
    raw: Annotated[bool, typer.Option("--raw", help="Only the value's bytes, unchanged.")] = False,
) -> None:
    """One dead letter with everything that came with it."""
    from monitor.alerts.figures import utc
    from monitor.store.reading import dead_letters
    from schemas.journal import reader

    house = enter(config)
    with reader(house.engine).begin() as connection:
        found = dead_letters(connection, letter_id=letter_id)
    if not found:
        raise NotFoundError(f"no dead letter {letter_id}", next_step="see `proctord dlq list`")
    letter = found[0]
    if raw:
        sys.stdout.buffer.write(letter.value or b"")
        return
    _print_rows(
        [
            ("message", letter.message),
            ("stage", letter.stage),
            ("field", letter.field or "the whole message"),
            ("topic", letter.topic),
            ("place", f"{letter.place}, offset {letter.offset}"),
            ("partition", letter.partition),
            ("stamped", utc(letter.timestamp) if letter.timestamp else "never"),
            ("arrived", utc(letter.at)),
            ("key", repr(letter.key)),
            ("headers", repr(letter.headers)),
            ("bytes", str(len(letter.value or b""))),
            ("value", repr((letter.value or b"")[:2000])),
        ]
    )


# --- students --------------------------------------------------------------------------------


@app.command()
def models(
    artefact_id: Annotated[
        str, typer.Argument(help="One student, or enough of its first digits; default: all.")
    ] = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Every student in the registry, newest first; or one, with the gates it went through."""
    import msgspec

    from monitor import model_page

    program = enter(config).retraining()
    if artefact_id:
        model, run = program.model(artefact_id)
        if as_json:
            _print_json(msgspec.to_builtins({"model": model, "run": run}))
        else:
            _print_rows(model_page.rows(model, run))
        return
    found = program.models()
    if as_json:
        _print_json(msgspec.to_builtins(found))
        return
    for model in found:
        typer.echo(model_page.line(model))
    if not found:
        typer.echo("no student yet: `proctord labels import`, then `proctord retrain`", err=True)


@app.command()
def retrain(
    config: ConfigOption = DEFAULT_CONFIG,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be decided now, and why.")
    ] = False,
    reason: ReasonOption = "",
    by: ByOption = "",
) -> None:
    """Ask for a retraining; the daemon starts it."""
    why, now = "" if dry_run else _needed(reason), time.time()
    program = enter(config).retraining()
    if dry_run:
        from monitor.alerts.figures import plain

        decision = program.dry_run(now)
        typer.echo(f"{decision.action} ({decision.rule}): {plain(decision.reason, LONGEST)}")
        return
    wanted = program.request_run(_actor(by), why, now)
    typer.echo(f"run {wanted.run_id} is requested; see `proctord status`")


@app.command()
def promote(
    artefact_id: Annotated[str, typer.Argument(help="The student, or enough of its first digits.")],
    config: ConfigOption = DEFAULT_CONFIG,
    reason: ReasonOption = "",
    by: ByOption = "",
) -> None:
    """Let a student serve whatever the gates said of it. Audited."""
    why, program = _needed(reason), enter(config).retraining()
    champion = program.promote(artefact_id, _actor(by), why, time.time())
    typer.echo(f"{champion.artefact_id} serves as version {champion.version}")


@app.command()
def rollback(
    config: ConfigOption = DEFAULT_CONFIG, reason: ReasonOption = "", by: ByOption = ""
) -> None:
    """Let the student before this one serve again. Audited."""
    why, program = _needed(reason), enter(config).retraining()
    champion = program.rollback(_actor(by), why, time.time())
    typer.echo(f"{champion.artefact_id} serves as version {champion.version}")


@app.command()
def audit(
    config: ConfigOption = DEFAULT_CONFIG,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 50,
) -> None:
    """Who did what, when and why."""
    from monitor.alerts.figures import plain, utc
    from monitor.store.reading import audit as rows
    from schemas.journal import reader

    house = enter(config)
    with reader(house.engine).begin() as connection:
        for row in rows(connection, limit):
            words = f"{row['actor']}  {row['action']} {row['subject']}: {row['reason']}"
            typer.echo(f"{utc(row['at'])}  {plain(words, LONGEST)}")


@labels.command("import")
def labels_import(
    file: Annotated[Path, typer.Argument(help="{id, text, teacher: {label, ...}, gold?} a line.")],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Take in historic teacher answers, so that a first student can be distilled from them."""
    import msgspec

    from monitor.redaction import redact
    from monitor.teachers.scripted import read_recorded

    program = enter(config, create=True).retraining()
    rows = (msgspec.structs.replace(row, text=redact(row.text)) for row in read_recorded(file))
    count = program.import_labels(rows, time.time())
    typer.echo(f"{count:,} labels are new; `proctord retrain --reason ...` distils from them")


@gold.command("list")
def gold_list(
    config: ConfigOption = DEFAULT_CONFIG,
    limit: Annotated[
        int, typer.Option(min=1, help="How many, the one drawn first at the head.")
    ] = 50,
    as_json: JsonOption = False,
) -> None:
    """Which tickets a person should check next; the answer goes into a feedback event."""
    from monitor import gold_page
    from schemas.journal import reader

    house = enter(config)
    now = time.time()
    since = house.monitor.gold.since(now)
    with reader(house.engine).begin() as connection:
        found = gold_page.tasks(connection, drawn_after=since, limit=limit, now=now)
    if as_json:
        _print_json(gold_page.as_json(found))
        return
    for task in found:
        typer.echo("\n".join(gold_page.task_lines(task)))
    said = (
        "publish one line a ticket as a feedback event" if found else "no ticket waits for a person"
    )
    typer.echo(said, err=True)


@gold.command("status")
def gold_status(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """How often teacher and students are wrong by people's answers."""
    from monitor import gold_page
    from schemas.journal import reader

    house = enter(config)
    since = house.monitor.gold.since(time.time())
    with reader(house.engine).begin() as connection:
        found = gold_page.gather(connection, drawn_after=since)
    if as_json:
        _print_json(gold_page.as_json(found))
    else:
        _print_rows(gold_page.rows(found))


# --- the contract ----------------------------------------------------------------------------


@contract.command("show")
def contract_show(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """What is in force, what the file says, and how the two differ."""
    import msgspec

    from monitor import agreement
    from schemas.accepting import last_acceptance
    from schemas.journal import reader

    house = enter(config)
    with reader(house.engine).begin() as connection:
        accepted = last_acceptance(connection)
    found = agreement.gather(house.monitor.contract, accepted, time.time())
    if as_json:
        _print_json(msgspec.to_builtins(found))
    else:
        _print_rows(agreement.page(found))


@contract.command("accept")
def contract_accept(
    config: ConfigOption = DEFAULT_CONFIG,
    reason: ReasonOption = "",
    by: ByOption = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, on a terminal either.")] = False,
) -> None:
    """Put the file's contract in force: from then on proctord promotes by itself. Audited."""
    from monitor import agreement
    from schemas.acceptance import ensure_may_accept, stand
    from schemas.accepting import accept, last_acceptance
    from schemas.journal import reader

    why, now, house = _needed(reason), time.time(), enter(config, create=True)
    terms = house.monitor.contract
    with reader(house.engine).begin() as connection:
        before = last_acceptance(connection)
    standing = stand(terms, before, now)
    if standing.in_force:
        typer.echo(standing.reason)
        return
    ensure_may_accept(terms, before, _actor(by), now)
    for line in agreement.changes(before, terms):
        typer.echo(line)
    if sys.stdin.isatty() and not yes:
        typer.confirm("Is this what was agreed?", abort=True, err=True)
    with house.engine.begin() as connection:
        accept(connection, terms, after=before, actor=_actor(by), reason=why, now=now)
    typer.echo(f"contract {terms.hash} is in force; a daemon judges by it from its next start on")


# --- the source ------------------------------------------------------------------------------


@source.command("accept-gap")
def source_accept_gap(
    config: ConfigOption = DEFAULT_CONFIG, reason: ReasonOption = "", by: ByOption = ""
) -> None:
    """Go on although events are gone before they were read. Audited; stop the daemon first."""
    from monitor.alerts.figures import plain
    from monitor.app import make_source
    from monitor.store.positions import accept_gaps, positions
    from schemas.journal import reader, sole_writer

    why, house = _needed(reason), enter(config)
    with sole_writer(house.engine):
        with reader(house.engine).begin() as connection:
            held = positions(connection)
        origin = make_source(house.monitor.source)
        gaps = origin.gaps(held)
        with house.engine.begin() as connection:
            gaps = accept_gaps(connection, gaps, actor=_actor(by), reason=why, now=time.time())
    for partition, (wanted, first) in gaps.items():
        lost = f"{first - wanted:,} are lost" if first > wanted else "read anew from its beginning"
        place = plain(origin.place(partition), LONGEST)
        typer.echo(f"{place} goes on from {first:,} instead of {wanted:,}: {lost}")
    if not gaps:
        typer.echo("nothing is missing: each partition can go on where it stopped", err=True)


# --- the journal -----------------------------------------------------------------------------


@db.command("upgrade")
def db_upgrade(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Bring the journal's tables to this version. Back it up first."""
    from schemas.journal import open_journal, upgrade

    monitor, _ = load(config)
    typer.echo(f"the journal is at {upgrade(open_journal(monitor.journal.url))}")


@db.command("current")
def db_current(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Which version the journal has, and which this proctord wants."""
    from schemas.journal import open_journal, schema_revision

    monitor, _ = load(config)
    current, wanted = schema_revision(open_journal(monitor.journal.url))
    typer.echo(f"journal: {current or 'empty'}, this proctord: {wanted}")


# --- words -----------------------------------------------------------------------------------


def _actor(by: str) -> str:
    if len(by) > 128:
        raise typer.BadParameter("--by: the audit holds 128 characters of a name")
    return by or f"{getpass.getuser()}@{os.uname().nodename}"[:128]


def _needed(reason: str) -> str:
    if not reason.strip():
        raise typer.BadParameter("say why: --reason '...' stands in the audit")
    return reason.strip()


def _print_rows(rows: list[tuple[str, str]]) -> None:
    from monitor.alerts.figures import plain

    titles = [plain(title) for title, _ in rows]
    width = max(map(len, titles))
    for title, (_, words) in zip(titles, rows, strict=True):
        typer.echo(f"{title:<{width}}  {plain(words, LONGEST)}")


def _print_json(body: Any) -> None:
    typer.echo(json.dumps(body, indent=2, sort_keys=True))


def main() -> None:
    """Run a command; an error that was foreseen is told in words and not as a traceback."""
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # here, where a full disk can be told of, and not at the very end
    except ProctordError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        # what is buffered cannot be written, and the interpreter would try once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _fail(f"what was asked for could not be written: {error.strerror}", 1)
    except Exception as error:
        told = _explained(error)
        if told is None:
            raise
        _fail(str(told), told.exit_code)


def _explained(error: Exception) -> ProctordError | None:
    """Put into words what a journal answers that went away or is spoilt in the middle."""
    import sqlalchemy as sa

    from schemas.journal import explained

    # its other subclasses are faults of ours
    if isinstance(error, sa.exc.OperationalError) or type(error) is sa.exc.DatabaseError:
        return explained(error, "`journal.url`")
    return None


def _fail(words: str, exit_code: int) -> NoReturn:
    typer.echo(f"proctord: {words}", err=True)
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
