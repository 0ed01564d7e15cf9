"""The work of ``memtrain sweep``: to predict rows, or to open a session and measure its rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memtrain.answers.swept import Swept
    from memtrain.cells.cell import Cell, Mode
    from memtrain.cells.row import Row
    from memtrain.measure.host import Host
    from memtrain.report.section import Origin
    from memtrain.sweeps.request import Request
    from memtrain.sweeps.session import Session


@dataclass(frozen=True)
class How:
    """Settings of a sweep that change no figure."""

    jobs: int | None
    timeout_s: float | None
    ignore_free_memory: bool
    quiet: bool
    verbose: bool


def checked(how: How) -> How:
    """``how``. Raises ``InputError`` if its settings cannot be used."""
    from memtrain.errors import InputError
    from memtrain.sweeps.sweep import check_limits

    if how.quiet and how.verbose:
        raise InputError("-q hides what -v shows", "drop one of the two")
    check_limits(how.jobs, how.timeout_s)
    return how


def foreseen(request: Request, how: How) -> Swept:
    """The rows of ``request`` as predicted; nothing is run."""
    from memtrain.answers.swept import Swept
    from memtrain.cells.row import planned_row
    from memtrain.cli.console import messages, plannable
    from memtrain.run.kept_rates import kept_rates
    from memtrain.sweeps.request import make_tasks

    rates = kept_rates()
    tasks = make_tasks(plannable(messages(how.quiet), request.cells(), rates), request.mode)
    return Swept([planned_row(*task, rates) for task in tasks])


def open_session(
    host: Host, request: Request | None, path: Path, origin: Origin, force: bool, how: How
) -> Session:
    """A new session for ``request``; without a request, the session of the sweep with rows in ``path``."""
    from memtrain.cli.console import messages, say, warn_of_rates
    from memtrain.sweeps.session import begin, resume

    log = messages(how.quiet)
    if request is None:
        session = resume(host, path)
        say(log, f"{len(session.done)} of {len(session.tasks)} rows were measured before")
    else:
        environment = host.environment(request.cells()[0])
        about = {"command": origin.command, "config": origin.config, "environment": environment}
        session = begin(host, request, path, about, force)
    if how.verbose:
        for name, value in host.environment(session.tasks[0][0]).items():
            say(log, f"{name}: {value}")
    planned_by_time = any(cell.plans_by_time for cell, _ in session.tasks)
    warn_of_rates(log, request is not None and planned_by_time)
    return session


def measured(host: Host, session: Session, how: How) -> Swept:
    """The sweep with its waiting rows measured; the session stores each row when it is finished."""
    from memtrain.answers.swept import swept
    from memtrain.cli.console import messages, progress_bar, say
    from memtrain.report.findings import cell_name, row_line
    from memtrain.sweeps.sweep import expected_s, run_sweep

    waiting, request, all_of_them = session.waiting, session.request, len(session.tasks)
    with progress_bar(how.quiet) as progress, session.store:
        expected = {task: expected_s(*task, request.meters) for task in waiting}
        bar = progress.add_task("", total=sum(expected.values()), count=f"{len(session.done)}/{all_of_them}")

        def finished(row: Row) -> None:
            session.add(row)
            if how.verbose:
                say(messages(), row_line(row))
            count = f"{len(session.done)}/{all_of_them}"
            progress.update(bar, advance=expected[row.cell, row.mode], count=count)

        def started(cell: Cell, mode: Mode) -> None:
            progress.update(bar, description=f"{cell_name(cell)}, {mode}")

        run_sweep(
            host,
            waiting,
            meters=request.meters,
            jobs=how.jobs,
            timeout_s=how.timeout_s,
            repeat=request.repeat,
            force=how.ignore_free_memory,
            started=started,
            finished=finished,
        )
    return swept(host, session.rows, how.timeout_s)
