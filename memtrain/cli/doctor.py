"""``memtrain doctor``: whether this machine is fit for measuring."""

from __future__ import annotations

import typer

from memtrain.cli.exports import Exports, export_options
from memtrain.cli.options import Quiet


@export_options
def doctor(
    *,
    exports: Exports,
    quiet: Quiet = False,
) -> None:
    """Check this machine: its CPU, BLAS, memory and meters.

    Every meter is tried on a small network whose figures are known. The output names each finding that is not
    ideal for measuring, and a remedy. The exit code is 1 if a meter is broken.

    Examples:
      memtrain doctor
      memtrain doctor --json
      OPENBLAS_CORETYPE=Haswell memtrain doctor
    """
    from memtrain.measure.doctor import Examination, examine
    from memtrain.measure.host import Host

    exports.check(Examination)
    with Host() as host:
        examination = Examination(tuple(examine(host)))
    exports.publish(examination, shown=not quiet or not examination.ok)
    if not examination.ok:
        raise typer.Exit(1)
