"""``memtrain sweep``: depth × batch, training beside inference."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memtrain.cells.columns import CELL_NAMES
from memtrain.cli.completing import one_of
from memtrain.cli.config import config_options, effective_config
from memtrain.cli.exports import STDOUT, Exports, command_line, export_options
from memtrain.cli.groups import MEASUREMENT
from memtrain.cli.options import Jobs, Meters, Quiet, Timeout, Verbose, cell_options
from memtrain.cli.resuming import refuse_beside_resume, resume_command
from memtrain.cli.streams import close_stdout
from memtrain.cli.sweeping import How, checked, foreseen, measured, open_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memtrain.cells.cell import Cell
    from memtrain.report.section import Origin
    from memtrain.sweeps.request import Request
    from memtrain.sweeps.session import Session


_MODES = ("both", "train", "infer", "eval-grad", "all")


@cell_options(
    several=CELL_NAMES,
    shown={
        "depth": "1:16:x2 for mlp, else by family",
        "batch": "64,256,1024 for mlp, else by family",
        "memory_limit_bytes": "none",
    },
)
@export_options
@config_options
def sweep(
    context: typer.Context,
    columns: dict[str, Any],
    mode: Annotated[
        str,
        typer.Option(
            metavar="<mode>",
            help="Measure training, inference, both, inference with gradients on (eval-grad), or all: "
            f"[{'|'.join(_MODES)}]",
            autocompletion=one_of(_MODES),
            rich_help_panel=MEASUREMENT,
        ),
    ] = "both",
    meters: Meters = "ledger,heap,resident,time",
    repeat: Annotated[
        int,
        typer.Option(
            metavar="<n>",
            help="Repeat each measurement <n> times and report the median and spread",
            rich_help_panel=MEASUREMENT,
        ),
    ] = 1,
    jobs: Jobs = None,
    timeout: Timeout = None,
    ignore_free_memory: Annotated[
        bool,
        typer.Option(
            "--ignore-free-memory",
            help="Also try cells that need more memory than is free",
            rich_help_panel=MEASUREMENT,
        ),
    ] = False,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="<file>",
            help="Continue the stopped sweep that wrote this CSV: measure what is missing or failed",
            rich_help_panel=MEASUREMENT,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="List the cells and their predicted peaks; run nothing",
            rich_help_panel=MEASUREMENT,
        ),
    ] = False,
    *,
    exports: Exports,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Measure peak memory over depth × batch.

    The sweep measures training and inference. Options of the network and of the training take several values,
    and each combination is a cell. Each row is written when it is finished: to --export-csv, or without this
    option to results/sweep-<date>-<time>-<pid>.csv.

    Examples:
      memtrain sweep
      memtrain sweep --depth 1,4,16 --batch 128,1024 --export-csv out.csv
      memtrain sweep --activation relu,gelu --batch 64:1024:x2 --dry-run
      memtrain sweep --memory 64MiB
    """
    # Modules that compute are imported here, so that --help does not wait for numpy.
    from memtrain.answers.swept import Swept
    from memtrain.cells.row import notes_of
    from memtrain.cli.console import messages, say, warn
    from memtrain.cli.grid import request_of
    from memtrain.measure.host import Host
    from memtrain.report.section import Origin
    from memtrain.sweeps.journal import journal_path

    origin = Origin(command_line(), effective_config(context))
    how = checked(How(jobs, timeout, ignore_free_memory, quiet, verbose))
    log, csv_is_store = messages(quiet), not dry_run and exports.export_csv != STDOUT
    path = resume or (exports.export_csv if csv_is_store and exports.export_csv else _new_path())
    if csv_is_store:
        exports = replace(exports, export_csv=None)  # each row is written there when it is finished
    request = None
    if resume is not None:
        refuse_beside_resume(context)
        exports.check(Swept, [path, journal_path(path)])
    else:
        request = request_of(columns, context.params)
        exports.check(Swept, request.axes.get("data", []))
        _warn_of_batches(request.cells(), how)
        if dry_run:
            exports.publish(foreseen(request, how), origin)
            return
        _check_new(request, path, exports)
    _warn_of_memory(how)
    with Host() as host:
        session = open_session(host, request, path, origin, exports.force, how)
        try:
            swept = measured(host, session, how)
        except (KeyboardInterrupt, SystemExit):
            warn(log, f"stopped: {len(session.done)} of {len(session.tasks)} rows are in {path}")
            if session.store.resumable:
                warn(log, f"continue with: {resume_command(context, path)}")
            _show_rows_so_far(session, exports, origin)
            raise
    exports.publish(swept, origin)
    for note in notes_of(swept.rows):
        warn(log, note)
    say(log, f"rows: {session.store.path}")
    if not all(row.ok for row in swept.rows):
        raise typer.Exit(1)


def _warn_of_batches(cells: Sequence[Cell], how: How) -> None:
    """Warn of batches that are larger than their data."""
    from memtrain.cli.console import messages, warn
    from memtrain.sweeps.grid import oversized_batches

    for name, examples in oversized_batches(cells).items():
        said = f"batches larger than the {examples:,} training examples of {name} repeat some of them"
        warn(messages(how.quiet), said)


def _warn_of_memory(how: How) -> None:
    """Warn of memory settings of this machine that change figures."""
    from memtrain.cli.console import messages, warn
    from memtrain.measure.doctor import State, examine_memory

    for finding in examine_memory():
        if finding.state is not State.FINE:
            warn(messages(how.quiet), f"{finding.subject}: {finding.found}; {finding.remedy}")


def _check_new(request: Request, path: Path, exports: Exports) -> None:
    """Raise ``InputError`` if a new sweep cannot write its rows or one of its exports."""
    from memtrain.sweeps.session import check_new

    files = {option: path for option, path in exports.paths.items() if path != STDOUT}
    check_new(request, path, files, exports.force, exports.config)


def _show_rows_so_far(session: Session, exports: Exports, origin: Origin) -> None:
    """Show the rows of a sweep that was stopped, in the terminal or on stdout; write no files."""
    from memtrain.answers.swept import Swept
    from memtrain.errors import MemtrainError

    if not session.done:
        return
    try:
        exports.without_files().publish(Swept(session.rows), origin)
    except (MemtrainError, OSError, SystemExit):  # the reader may have gone
        close_stdout()


def _new_path() -> Path:
    """The path for rows if no option gives one: a file that does not exist yet."""
    stem = f"sweep-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}"
    paths = (Path("results", f"{stem}{suffix}.csv") for suffix in ("", *(f"-{n}" for n in range(2, 100))))
    return next(path for path in paths if not path.exists())
