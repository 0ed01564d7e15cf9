"""The table of all columns. Key, CSV, journal, options, comparison and report read it.

New columns are appended, and no column is renamed. So files of older versions can still be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from memtrain.cells.kinds import BYTES, COUNT, NUMBER, SECONDS, TEXT, TRUTH, WIDTHS, Kind


class Part(Enum):
    """The part of a row to which a column belongs."""

    NETWORK = "network"
    RUN = "run"
    MODE = "mode"
    FIGURE = "figure"


@dataclass(frozen=True)
class Column:
    """A column of a row. ``since`` is the edition of this table that added the column.

    The name has the unit as its ending: ``_bytes``, ``_s``, ``_count``.
    """

    name: str
    kind: Kind
    part: Part
    about: str
    default: Any = None
    """The value if none is given, and in files without the column; missing is ``None``."""
    since: int = 1
    least: int = 1
    """The least whole number that is allowed."""
    choices: tuple[str, ...] = ()
    """The words that are allowed. If there are none, any text is allowed."""
    called: str = ""
    """The name of the parameter of the column, if it differs from the name of the column."""
    usual: str = ""
    """The defaults of the families as the help shows them, for a column whose default they choose."""

    @property
    def parameter(self) -> str:
        """The name of the column as a parameter of a command: ``input_size``."""
        return self.called or self.name

    @property
    def option(self) -> str:
        """The name of the column as an option on the command line: ``--input-size``."""
        return f"--{self.parameter.replace('_', '-')}"

    @property
    def off(self) -> str:
        """The option that turns a column of true and false off: ``--no-bias``."""
        return f"--no-{self.option.removeprefix('--')}"


def _network(name: str, kind: Kind, default: Any, about: str, **others: Any) -> Column:
    return Column(name, kind, Part.NETWORK, about, default, **others)


def _of_family(name: str, kind: Kind, usual: str, about: str, **others: Any) -> Column:
    """A column of some families. Each of them has its own default, so a file without the column has none."""
    return _network(name, kind, None, about, usual=usual, since=5, **others)


def _run(name: str, kind: Kind, default: Any, about: str, **others: Any) -> Column:
    return Column(name, kind, Part.RUN, about, default, **others)


def _figure(name: str, kind: Kind, about: str, since: int = 1) -> Column:
    return Column(name, kind, Part.FIGURE, about, None, since)


ACTIVATIONS = (
    "relu",
    "tanh",
    "sigmoid",
    "gelu",
    "gelu_tanh",
    "identity",
    "leaky_relu",
    "elu",
    "softplus",
    "silu",
    "hard_swish",
    "mish",
)
ENGINES = ("numpy", "torch", "jax")
"""Who runs the iterations: memtrain's own kernels, PyTorch, or JAX, which is only measured."""
FAMILIES = ("mlp", "lenet", "cnn", "resnet", "transformer", "rnn")
ATTENTIONS = ("parts", "blocks")
NORMS = ("none", "batch", "group", "layer", "rms")
_POLICY = (
    "What to recompute: none; sqrt (keep about every √ℓ-th layer); revolve:K (keep K layers); "
    "budget:32MiB (the cheapest plan within 32 MiB)"
)
_UPDATE = "Update all parameters after backward (deferred), or each as soon as its gradient exists (eager)"
_ALLOCATION = (
    "An array for each value (fresh), one arena for all (packed), or fresh where memory is measured "
    "and packed elsewhere (auto)"
)
_GRADIENTS = ("after-update", "before-forward", "kept")
_LIVES = (
    "How long gradients live: until their update (after-update), until the next forward begins "
    "(before-forward), or always (kept)"
)
_MEMORY = "Hard limit on the memory of each run: 64MiB, 1GB, or bytes"
_COST = "What a plan within a budget minimises: seconds, as measured on this machine, or FLOPs"

_DATA = "digits; topics for language models"
_DEPTH = "Hidden layers (blocks); 0 is a linear model"
_WIDTH = "Units of a layer; channels of the first block"
_ACTIVATION = "sigmoid for lenet, gelu for transformer, else relu"

COLUMNS = (
    _network("model", TEXT, "mlp", "Family of the network", choices=FAMILIES),
    _network("depth", COUNT, 1, _DEPTH, least=0, usual="1 for mlp, else by family"),
    _network("width", WIDTHS, 256, _WIDTH, usual="256 for mlp, else by family"),
    _run("batch", COUNT, 64, "Examples in a batch"),
    _network("activation", TEXT, "relu", "Activation function", choices=ACTIVATIONS, usual=_ACTIVATION),
    _network("bias", TRUTH, False, "Add a bias to each layer"),
    _run("optimizer", TEXT, "sgd", "Optimiser", choices=("sgd", "momentum", "adam")),
    _network("l2", NUMBER, 1e-4, "Factor λ of the regulariser λ/2·Σ‖W‖²"),
    _network("dtype", TEXT, "float32", "Type of the numbers", choices=("float32", "float64")),
    _run("data", TEXT, "digits", "Data: digits, topics (a text), or a .npz, .csv or .txt file", usual=_DATA),
    _network("input_size", COUNT, 64, "Features of an example; implies synthetic data"),
    _network("output_size", COUNT, 10, "Classes; implies synthetic data"),
    _run("policy", TEXT, "none", _POLICY),
    _run("update", TEXT, "deferred", _UPDATE, choices=("deferred", "eager")),
    _run("allocation", TEXT, "auto", _ALLOCATION, choices=("auto", "fresh", "packed")),
    _run("threads", COUNT, 1, "Threads of each run"),
    _run("steps", COUNT, 3, "Iterations during which memory is measured; 1 is the first"),
    _run("seed", COUNT, 0, "Seed of the initial values and batches", least=0),
    _run("memory_limit_bytes", BYTES, None, _MEMORY, called="memory"),
    Column("mode", TEXT, Part.MODE, "Training or inference."),
    _figure("status", TEXT, "How the row ended."),
    _figure("reason", TEXT, "Why it did not end well."),
    _figure("parameter_bytes", BYTES, "All parameters."),
    _figure("gradient_bytes", BYTES, "All gradients."),
    _figure("optimizer_bytes", BYTES, "State of the optimiser."),
    _figure("input_bytes", BYTES, "Inputs and targets of a batch."),
    _figure("retained_bytes", BYTES, "The most that is retained at one time."),
    _figure("baseline_bytes", BYTES, "What the process held before the graph existed."),
    _figure("predicted_peak_bytes", BYTES, "Peak by liveness; nothing is run."),
    _figure("ledger_peak_bytes", BYTES, "Peak of the arrays that the run held."),
    _figure("heap_peak_bytes", BYTES, "Peak of what was requested from the allocator (memray)."),
    _figure("resident_peak_bytes", BYTES, "Peak of the pages that the process held (VmHWM)."),
    _figure("peak_parameter_bytes", BYTES, "Parameters at the peak."),
    _figure("peak_gradient_bytes", BYTES, "Gradients at the peak."),
    _figure("peak_optimizer_bytes", BYTES, "State of the optimiser at the peak."),
    _figure("peak_input_bytes", BYTES, "Inputs at the peak."),
    _figure("peak_retained_bytes", BYTES, "Retained intermediates at the peak."),
    _figure("peak_transient_bytes", BYTES, "All other arrays at the peak."),
    _figure("peak_workspace_bytes", BYTES, "Workspace of the kernel at the peak."),
    _figure("peak_phase", TEXT, "Phase of the iteration at the peak."),
    _figure("peak_step", COUNT, "Step of the schedule at the peak."),
    _figure("step_s", SECONDS, "Time of an iteration."),
    _figure("loss_first", NUMBER, "Objective of the first iteration."),
    _figure("loss_last", NUMBER, "Objective of the last iteration."),
    _figure("blas", TEXT, "BLAS library of the run."),
    _figure("cpu", TEXT, "Processor."),
    _figure("python", TEXT, "Version of Python."),
    _figure("numpy", TEXT, "Version of numpy."),
    _figure("memtrain", TEXT, "Version of memtrain."),
    _figure("repeat_count", COUNT, "How often each figure was measured.", since=2),
    _figure("ledger_spread_bytes", BYTES, "Largest less smallest ledger peak.", since=2),
    _figure("heap_spread_bytes", BYTES, "Largest less smallest heap peak.", since=2),
    _figure("resident_spread_bytes", BYTES, "Largest less smallest resident peak.", since=2),
    _figure("step_spread_s", SECONDS, "Largest less smallest time.", since=2),
    _figure("peak_recomputed_bytes", BYTES, "Recomputed values at the peak.", since=3),
    _run("accumulate", COUNT, 1, "Micro-batches in a batch; their gradients are added up", since=3),
    _run("cost", TEXT, "seconds", _COST, since=3, choices=("seconds", "flops")),
    _figure("peak_array_count", COUNT, "Arrays at the peak.", since=4),
    _of_family("image", COUNT, "28 for lenet, else 32", "Side of the square images"),
    _of_family("channels", COUNT, "as in the data", "Channels of the images; implies synthetic data"),
    _of_family("kernel", COUNT, "3", "Side of the kernels of a cnn; an odd number"),
    _of_family("pool", COUNT, "2", "A cnn halves the images after every so many blocks"),
    _of_family("norm", TEXT, "by family", "Normalisation", choices=NORMS),
    _of_family("heads", COUNT, "4", "Attention heads of each block"),
    _of_family("sequence", COUNT, "128; 64 for rnn", "Tokens in an example"),
    _of_family("vocabulary", COUNT, "as in the data", "Different tokens; implies synthetic data"),
    _of_family("dropout", NUMBER, "0", "Share of values that dropout sets to zero", least=0),
    _of_family(
        "attention",
        TEXT,
        "parts",
        "Attention by parts keeps its probabilities; in blocks it computes them again",
        choices=ATTENTIONS,
    ),
    _of_family("tied", TRUTH, "no-tied", "Use the embedding as the output layer, too"),
    _of_family("unit", TEXT, "lstm", "Recurrent unit", choices=("tanh", "lstm", "gru")),
    _network("freeze", TEXT, "none", "Layers (blocks) that are not trained: 1-4, 2+5", since=6),
    _run("engine", TEXT, "numpy", "Who runs the iterations; jax is only measured", choices=ENGINES, since=6),
    _run("foreach", TRUTH, False, "PyTorch's optimiser works on lists of all parameters", since=6),
    _run("fused", TRUTH, False, "PyTorch's optimiser makes its step in one kernel", since=6),
    _run("inplace", TRUTH, False, "PyTorch's activations overwrite their inputs", since=6),
    _run("gradients", TEXT, "after-update", _LIVES, since=6, choices=_GRADIENTS),
    _run("retain_graph", TRUTH, False, "Backward frees nothing that forward stored", since=6),
)
"""Every column, in the order of a row."""

BY_NAME = {column.name: column for column in COLUMNS}
NAMES = tuple(BY_NAME)
NETWORK_NAMES = tuple(column.name for column in COLUMNS if column.part is Part.NETWORK)
RUN_NAMES = tuple(column.name for column in COLUMNS if column.part is Part.RUN)
CELL_COLUMNS = tuple(column for column in COLUMNS if column.part in (Part.NETWORK, Part.RUN))
CELL_NAMES = tuple(column.name for column in CELL_COLUMNS)
FIGURE_NAMES = tuple(column.name for column in COLUMNS if column.part is Part.FIGURE)

STATUSES = ("ok", "memory_limit", "killed", "timeout", "error")
"""The possible values of ``status``: how a measurement ended."""

SPREADS = {
    "ledger_peak_bytes": "ledger_spread_bytes",
    "heap_peak_bytes": "heap_spread_bytes",
    "resident_peak_bytes": "resident_spread_bytes",
    "step_s": "step_spread_s",
}
"""By figure: the column with its spread, which is its largest − its smallest value over the repetitions."""
