"""``memtrain doctor``: is this machine fit for measuring."""

from __future__ import annotations

from dataclasses import asdict
from json import dumps
from typing import Annotated

import typer


def doctor(
    json: Annotated[bool, typer.Option("--json", help="The findings as JSON.")] = False,
) -> None:
    """Show CPU, BLAS, meters and settings: what is not ideal, and what to do about it.

    Every meter is tried on a small network whose figures are known. Ends with 1 when one is broken.

    \b
    Examples:
      memtrain doctor
      memtrain doctor --json
      OPENBLAS_CORETYPE=Haswell memtrain doctor
    """
    from memtrain.cli.console import results
    from memtrain.measure.doctor import State, examine
    from memtrain.measure.host import Host
    from memtrain.report.terminal.doctor import doctor_table

    with Host() as host:
        findings = examine(host)
    if json:
        typer.echo(dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False))
    else:
        results().print(doctor_table(findings))
    if any(finding.state is State.BROKEN for finding in findings):
        raise typer.Exit(1)
