"""Options that several commands take, worded once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Batch = Annotated[int, typer.Option(min=1, help="Examples in a batch.")]
Activation = Annotated[str, typer.Option(help="One of relu, tanh, sigmoid, gelu, gelu_tanh, identity.")]
Bias = Annotated[bool, typer.Option("--bias/--no-bias", help="A bias in every layer.")]
Optimizer = Annotated[str, typer.Option(help="One of sgd, momentum, adam.")]
L2 = Annotated[float, typer.Option(help="λ of the regulariser λ/2·Σ‖W‖².")]
DType = Annotated[str, typer.Option(help="float32 or float64.")]
Seed = Annotated[int, typer.Option(min=0, help="Of start values and batches.")]
Layers = Annotated[
    str | None, typer.Option(help="Input, hidden… and output size, as 784,512,10, on synthetic data.")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite output files that exist.")]
Update = Annotated[
    str, typer.Option(help="deferred: after backward, or eager: as soon as a gradient exists.")
]
Policy = Annotated[
    str,
    typer.Option(
        help="What to keep for backward: none (all of it), sqrt, revolve:4 or budget:32MiB; the rest is "
        "computed again."
    ),
]
Cost = Annotated[
    str, typer.Option(help="What a budget spares: seconds, as measured on this machine, or flops.")
]
Accumulate = Annotated[
    int, typer.Option(min=1, help="Micro-batches whose gradients add up to those of the batch.")
]
Jobs = Annotated[
    int | None,
    typer.Option(
        help="Memory measurements at a time; time is measured alone.", show_default="a core each, up to 4"
    ),
]
Timeout = Annotated[float | None, typer.Option(help="Seconds after which a measurement is given up.")]
ExportMarkdown = Annotated[
    Path | None, typer.Option(help="A table in markdown, - for stdout.", show_default=False)
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Results and errors only: no progress, no warnings.")
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Also the environment, and rows as they finish.")
]
