"""A comparison of this checkout with another one: both must give the same figures and the same bits.

    scripts/same OTHER_CHECKOUT [NAME...]

Both are called by their command lines, so that they need not share any code. The cells cover every option.
Of each row, all columns are compared that do not depend on the machine or the version. Of each training, the
saved parameters are compared bit by bit. Differences are printed, and the exit code is 1 if there are any.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent.parent

NOT_COMPARED = (
    "baseline_bytes",
    "heap_peak_bytes",
    "resident_peak_bytes",
    "step_s",
    "memtrain",
    "blas",
    "cpu",
    "python",
    "numpy",
)
"""Columns that depend on the machine or the version."""

ACTIVATIONS = ("relu", "tanh", "sigmoid", "gelu", "gelu_tanh", "identity")
EVERY = {
    "optimizer": "sgd,momentum,adam",
    "l2": "0,1e-4",
    "dtype": "float32,float64",
    "update": "deferred,eager",
    "accumulate": "1,2",
}
SWEEPS = {
    "options": {
        "depth": "0,1,3",
        "batch": "24",
        "width": "16",
        "activation": ",".join(ACTIVATIONS),
        **EVERY,
        "allocation": "fresh,packed",
    },
    "policies": {
        "depth": "1,8,20",
        "batch": "32",
        "width": "32",
        "activation": "relu,gelu",
        **EVERY,
        "l2": "1e-4",
        "policy": "none,sqrt,revolve:3,budget:400KiB",
        "cost": "flops",
    },
    "shapes": {
        "depth": "0:20:+1",
        "batch": "1,16,250",
        "width": "1,24,300",
        "activation": "relu,gelu_tanh",
        "optimizer": "sgd,adam",
        "accumulate": "1",
    },
    "layers": {"layers": "30,7,50,3,12", "batch": "20", "activation": ",".join(ACTIVATIONS), **EVERY},
    "micro-batches": {"depth": "2,6", "batch": "60", "accumulate": "1,2,3,4,60", "activation": "relu,gelu"},
}
"""The options of each sweep, by its name. Each sweep is run with and without biases."""

TRAININGS = {
    "activation": ACTIVATIONS,
    "optimizer": ("sgd", "momentum", "adam"),
    "accumulate": ("1", "2"),
    "bias": (False, True),
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("other", type=Path, help="The other checkout.")
    parser.add_argument("names", nargs="*", help=f"Of {', '.join([*SWEEPS, 'trainings'])}; all unless given.")
    options = parser.parse_args(arguments)
    names = options.names or [*SWEEPS, "trainings"]
    different = 0
    for name in names:
        found = trainings(options.other) if name == "trainings" else sweeps(options.other, SWEEPS[name])
        count = 0
        for line in found:
            if line.startswith("="):
                print(f"{name}: {line[1:]}", flush=True)
                continue
            count += 1
            if count <= 20:
                print(f"  {line}", flush=True)
        if count > 20:
            print(f"  … and {count - 20} more", flush=True)
        different += count
    print(f"{different} differences")
    return 1 if different else 0


def sweeps(other: Path, options: dict[str, str]) -> Iterator[str]:
    """The differences between the rows of a sweep."""
    for bias in ("--no-bias", "--bias"):
        words = ["sweep", "-q", bias, "--meters", "ledger", "--export-csv", "-"]
        words += [word for name, value in options.items() for word in (f"--{name}", value)]
        before, after = (rows(run(checkout, words)) for checkout in (other, HERE))
        yield f"={len(before)} rows {bias}, {len(after)} here"
        if before.keys() != after.keys():
            yield f"not the same cells: {len(before.keys() ^ after.keys())} in one only"
        for key in before.keys() & after.keys():
            off = {
                name: (value, after[key].get(name))
                for name, value in before[key].items()
                if name not in NOT_COMPARED and after[key].get(name) != value
            }
            if off:
                yield f"{' '.join(key)}: {off}"


def rows(text: str) -> dict[tuple[str, ...], dict[str, str]]:
    """The rows of a CSV by the values of all columns up to ``mode``, and of ``accumulate`` and ``cost``."""
    found = {}
    for row in csv.DictReader(io.StringIO(text)):
        names = list(row)
        of_key = [*names[: names.index("mode") + 1], "accumulate", "cost"]
        found[tuple(row[name] for name in of_key)] = row
    return found


def trainings(other: Path) -> Iterator[str]:
    """The differences between the parameters after an epoch."""
    count = 0
    for values in product(*TRAININGS.values()):
        chosen = dict(zip(TRAININGS, values, strict=True))
        bias = chosen.pop("bias")
        words = ["train", "--epochs", "1", "--depth", "2", "--width", "20", "--batch", "64", "-q"]
        words += [word for name, value in chosen.items() for word in (f"--{name}", str(value))]
        words.append("--bias" if bias else "--no-bias")
        before, after = (saved(checkout, words) for checkout in (other, HERE))
        count += 1
        if before.keys() != after.keys():
            yield f"{words}: not the same parameters"
        yield from (f"{' '.join(words)}: {name}" for name in before if before[name] != after.get(name))
    yield f"={count} trainings"


def saved(checkout: Path, words: list[str]) -> dict[str, bytes]:
    """The bytes of each parameter that a training saves, by name."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "model.npz")
        run(checkout, [*words, "--save", str(model)])
        with np.load(model) as arrays:
            return {name: arrays[name].tobytes() for name in arrays.files if arrays[name].dtype.kind == "f"}


def run(checkout: Path, words: list[str]) -> str:
    """The output of the command of a checkout."""
    settings = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "memtrain", *words], env=settings, capture_output=True, text=True, cwd="/"
    )
    if done.returncode not in (0, 1) or not (done.stdout or "--save" in words):
        raise SystemExit(f"{checkout}: {' '.join(words)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
