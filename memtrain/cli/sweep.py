"""``memtrain sweep``: depth × batch, training beside inference."""

from __future__ import annotations

import os
import shlex
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memtrain.cells.columns import CELL_NAMES
from memtrain.cli.config import config_text, effective_config, use_config
from memtrain.cli.exports import STDOUT, check_exports, export
from memtrain.cli.options import ExportMarkdown, Jobs, Quiet, Timeout, Verbose, cell_options
from memtrain.cli.streams import close_stdout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memtrain.cells.cell import Cell, Mode
    from memtrain.cells.row import Row
    from memtrain.measure.host import Host
    from memtrain.sweeps.law import Verdict
    from memtrain.sweeps.session import Session

BESIDE_RESUME = (
    "resume",
    "jobs",
    "timeout",
    "export_json",
    "export_markdown",
    "html",
    "json",
    "quiet",
    "verbose",
    "force",
)
"""Options that do not say what is measured."""


@cell_options(
    several=CELL_NAMES, shown={"depth": "1:16:x2", "batch": "64,256,1024", "memory_limit_bytes": "none"}
)
def sweep(
    context: typer.Context,
    columns: dict[str, Any],
    mode: Annotated[str, typer.Option(help="both, train or infer.")] = "both",
    meters: Annotated[
        str, typer.Option(help="Of ledger, heap, resident, time; the ledger runs always.")
    ] = "ledger,heap,resident,time",
    repeat: Annotated[
        int, typer.Option(help="Measure each figure so often: medians, and how far they spread.")
    ] = 1,
    jobs: Jobs = None,
    timeout: Timeout = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="The CSV of a sweep that was stopped: measure what is missing or failed."),
    ] = None,
    export_csv: Annotated[
        Path | None,
        typer.Option(
            help="Rows, as they finish; - for stdout.", show_default="results/sweep-<date>-<time>-<pid>.csv"
        ),
    ] = None,
    export_json: Annotated[
        Path | None, typer.Option(help="Rows with retained intermediates, laws and environment; or -.")
    ] = None,
    export_markdown: ExportMarkdown = None,
    html: Annotated[
        Path | None, typer.Option(help="The page that memtrain report makes of the rows.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="That JSON to stdout instead of the tables.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List cells and predicted peaks; run nothing.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(
            help="Options from a TOML file; the command line wins.", callback=use_config, is_eager=True
        ),
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Write the options in force as such a file; run nothing.")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Overwrite files that exist; try cells that free memory is too small for."
        ),
    ] = False,
) -> None:
    """Measure peak memory over depth × batch, training beside inference.

    \b
    Examples:
      memtrain sweep
      memtrain sweep --depth 1,4,16 --batch 128,1024 --export-csv out.csv
      memtrain sweep --activation relu,gelu --batch 64:1024:x2 --dry-run
      memtrain sweep --memory-limit 64MiB
    """
    # What computes is imported here, so that --help does not wait for numpy.
    from memtrain.cells.row import notes_of, planned_row
    from memtrain.cli.console import messages, plannable, results, say, warn, warn_of_rates
    from memtrain.cli.grid import request_of
    from memtrain.errors import InputError, MemtrainError
    from memtrain.measure.doctor import State, examine_memory
    from memtrain.measure.host import Host
    from memtrain.report.findings import findings
    from memtrain.report.html import check_installed, report_html
    from memtrain.report.json import sweep_document
    from memtrain.report.markdown import sweep_markdown
    from memtrain.report.terminal.sweep import sweep_tables
    from memtrain.run.kept_rates import kept_rates
    from memtrain.sweeps.grid import oversized_batches
    from memtrain.sweeps.journal import journal_path
    from memtrain.sweeps.request import make_tasks
    from memtrain.sweeps.session import begin, check_new
    from memtrain.sweeps.session import resume as resume_session
    from memtrain.sweeps.store import rows_csv
    from memtrain.sweeps.sweep import check_limits, laws_of

    out, log = results(), messages(quiet)
    config_here = effective_config(context)
    if print_config:
        typer.echo(config_text(config_here), nl=False)
        return
    command = shlex.join(["memtrain", *sys.argv[1:]])
    csv_to_stdout = export_csv == STDOUT
    path = resume or (_new_path() if export_csv is None or csv_to_stdout else export_csv)

    def show(rows: Sequence[Row], laws: Sequence[Verdict] = (), files: bool = True) -> None:
        def document() -> str:
            return sweep_document(rows, laws, command, config_here)

        exports = {
            "--export-csv": (export_csv if dry_run or csv_to_stdout else None, lambda: rows_csv(rows)),
            "--export-json": (export_json, document),
            "--json": (STDOUT if json else None, document),
            "--export-markdown": (export_markdown, lambda: sweep_markdown(rows, laws, command)),
            "--html": (html, lambda: report_html(rows, commands=[command], laws=laws)),
        }

        def tables() -> None:
            for table in sweep_tables(rows, out.width, out.options.ascii_only):
                out.print(table)
                out.print()
            for sentence in findings(rows, laws):
                out.print(sentence, markup=False, emoji=False)

        wanted = {name: found for name, found in exports.items() if files or found[0] == STDOUT}
        export(wanted, force, tables)

    if quiet and verbose:
        raise InputError("-q and -v together", "allowed: one of them", "leave out the other")
    check_limits(jobs, timeout)
    outputs = {
        "--export-json": export_json,
        "--json": STDOUT if json else None,
        "--export-markdown": export_markdown,
        "--html": html,
    }
    if html is not None:
        check_installed()
    if resume is not None:
        _refuse_beside_resume(context)
        check_exports(outputs, force, [path, journal_path(path)])
    else:
        request = request_of(columns, context.params)
        cells = request.cells()
        csv_here = export_csv if dry_run or csv_to_stdout else None
        check_exports({"--export-csv": csv_here, **outputs}, force, [*request.axes.get("data", []), config])
        for name, examples in oversized_batches(cells).items():
            said = f"batches larger than the {examples:,} training examples of {name} draw rows again, seeded"
            warn(log, said)
        if dry_run:
            rates = kept_rates()
            tasks = make_tasks(plannable(log, cells, rates), request.mode)
            show([planned_row(*task, rates) for task in tasks])
            return
        files = {name: place for name, place in outputs.items() if place != STDOUT}
        check_new(request, path, files, force, config)

    for finding in examine_memory():
        if finding.state is not State.FINE:
            warn(log, f"{finding.subject}: {finding.found}; {finding.remedy}")
    with Host() as host:
        if resume is None:
            environment = host.environment(cells[0])
            about = {"command": command, "config": config_here, "environment": environment}
            session = begin(host, request, path, about, force)
        else:
            session = resume_session(host, path)
            say(log, f"{len(session.done)} of {len(session.tasks)} rows are there already")
        if verbose:
            for name, value in host.environment(session.tasks[0][0]).items():
                say(log, f"{name}: {value}")
        warn_of_rates(log, resume is None and any(cell.plans_by_time for cell in cells))
        try:
            _measure(host, session, jobs, timeout, force, quiet, verbose)
            laws = laws_of(host, session.rows, timeout)
        except (KeyboardInterrupt, SystemExit):
            warn(log, f"stopped after {len(session.done)} of {len(session.tasks)} rows; they are in {path}")
            if session.store.resumable:
                warn(log, f"to go on: {_resume_command(context, path)}")
            if session.done:
                try:
                    show(session.rows, files=False)
                except (MemtrainError, OSError, SystemExit):  # the reader may have gone
                    close_stdout()
            raise
    rows = session.rows
    show(rows, laws)
    for note in notes_of(rows):
        warn(log, note)
    say(log, f"rows: {session.store.path}")
    if not all(row.ok for row in rows):
        raise typer.Exit(1)


def _measure(
    host: Host,
    session: Session,
    jobs: int | None,
    timeout_s: float | None,
    force: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Measure what is waiting, behind a progress bar; the session stores each row that finishes."""
    from memtrain.cli.console import messages, progress_bar, say
    from memtrain.report.findings import cell_name, row_line
    from memtrain.sweeps.sweep import expected_s, run_sweep

    waiting, request, all_of_them = session.waiting, session.request, len(session.tasks)
    with progress_bar(quiet) as progress, session.store:
        expected = {task: expected_s(*task, request.meters) for task in waiting}
        bar = progress.add_task("", total=sum(expected.values()), count=f"{len(session.done)}/{all_of_them}")

        def finished(row: Row) -> None:
            session.add(row)
            if verbose:
                say(messages(), row_line(row))
            count = f"{len(session.done)}/{all_of_them}"
            progress.update(bar, advance=expected[row.cell, row.mode], count=count)

        def started(cell: Cell, mode: Mode) -> None:
            progress.update(bar, description=f"{cell_name(cell)}, {mode}")

        run_sweep(
            host,
            waiting,
            meters=request.meters,
            jobs=jobs,
            timeout_s=timeout_s,
            repeat=request.repeat,
            force=force,
            started=started,
            finished=finished,
        )


def _given(context: typer.Context) -> list[str]:
    """The parameters that the command line gives."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return [name for name, source in sources.items() if source and source.name == "COMMANDLINE"]


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _refuse_beside_resume(context: typer.Context) -> None:
    """Raise ``InputError`` for options that the resumed sweep has already said."""
    from memtrain.errors import InputError

    given = [_option(name) for name in _given(context) if name not in BESIDE_RESUME]
    if given:
        raise InputError(
            f"--resume together with {', '.join(given)}",
            "allowed: what the sweep was begun with, which its file says",
            "leave out the rest, or begin a new file",
        )


def _resume_command(context: typer.Context, path: Path) -> str:
    """The command that goes on, with the options that may stand beside ``--resume``."""
    from memtrain.sweeps.files import quoted

    words = ["memtrain", "sweep", "--resume", str(path)]
    for name in _given(context):
        if name in BESIDE_RESUME and name != "resume":
            value = context.params[name]
            words += [_option(name)] if value is True else [_option(name), str(value)]
    return " ".join(map(quoted, words))


def _new_path() -> Path:
    """Where rows go unless said otherwise: a file of this process that does not exist yet."""
    stem = f"sweep-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}"
    paths = (Path("results", f"{stem}{suffix}.csv") for suffix in ("", *(f"-{n}" for n in range(2, 100))))
    return next(path for path in paths if not path.exists())
