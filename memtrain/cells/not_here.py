"""Options of other commands, with the reason why a command, or its function in Python, does not have them."""

from __future__ import annotations

_SIZES_OF_DATA = "`memtrain train` takes the sizes of input and output from the data"
_ONE_THREAD = "runs with one BLAS thread, because each further thread takes memory of its own"
_NO_LIMIT = "`memtrain sweep --memory` runs each cell under a hard limit"

NOT_HERE: dict[str, dict[str, str]] = {
    "sweep": {
        "--no-measure": "`memtrain sweep --dry-run` predicts and runs nothing",
    },
    "explain": {
        "--allocation": "`memtrain explain` explains arrays; an arena has gaps that belong to no array",
        "--threads": f"`memtrain explain` {_ONE_THREAD}",
        "--memory": f"`memtrain explain` needs no limit; {_NO_LIMIT}, and `memtrain plan` makes a cell fit",
        "--dry-run": "`memtrain explain --no-measure` predicts and runs nothing",
    },
    "plan": {
        "--policy": "`memtrain plan` chooses the policy that fits into --memory",
        "--allocation": "`memtrain plan` allocates arrays one by one; in an arena, a plan can need more",
        "--threads": f"`memtrain plan` {_ONE_THREAD}",
        "--steps": "`memtrain plan` watches two iterations, which is enough to see the peak",
        "--memory-limit": "the option is called --memory",
        "--dry-run": "`memtrain plan --no-measure` predicts and runs nothing",
    },
    "frontier": {
        "--layers": "`memtrain frontier` varies the depth; give --width, --input-size and --output-size",
        "--policy": "`memtrain frontier` needs peaks that grow with batch and depth, and a policy promises "
        "no such growth; `memtrain plan` finds a policy for one cell",
        "--cost": "`memtrain frontier` applies no budget policy, so there is no cost to minimise",
        "--accumulate": "`memtrain frontier` tries any batch, and micro-batches must divide it",
        "--allocation": "`memtrain frontier` needs peaks that grow with the batch, and an arena can shrink",
        "--threads": f"`memtrain frontier` {_ONE_THREAD}",
        "--steps": "`memtrain frontier` chooses the iterations of its trials itself",
        "--memory-limit": "the option is called --memory",
        "--dry-run": "`memtrain frontier --no-confirm` predicts and runs nothing",
        "--no-measure": "`memtrain frontier --no-confirm` predicts and runs nothing",
    },
    "train": {
        "--layers": f"{_SIZES_OF_DATA}; give --depth and --width",
        "--input-size": _SIZES_OF_DATA,
        "--output-size": _SIZES_OF_DATA,
        "--channels": "`memtrain train` takes the channels from the data",
        "--vocabulary": "`memtrain train` takes the vocabulary from the data",
        "--steps": "`memtrain train` trains for --epochs",
        "--memory": f"`memtrain train` sets no limit; {_NO_LIMIT}, and `memtrain plan` makes a cell fit",
        "--dry-run": "`memtrain explain --no-measure` predicts the memory of a training and runs nothing",
    },
    "report": {
        "--html": "`memtrain report` writes its page to --output",
    },
}
"""By command and option: a sentence, without its final stop."""
