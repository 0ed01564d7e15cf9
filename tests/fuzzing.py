"""Random command lines and data files, seeded: memtrain must end in one of the defined ways for all of them.

    python tests/fuzzing.py [CASES] [FIRST_SEED]     (or scripts/fuzz)

A case is a command line, in half of the cases with a data file that is broken in some way. The command must
end with exit code 0, 1 or 2, without a traceback, and with a message on stderr if the code is not 0. No
content of a file may be executed.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import pickle
import pkgutil
import resource
import signal
import struct
import sys
import tempfile
import time
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np

import memtrain
from memtrain.cli.app import app
from memtrain.training.sources import load_digits

LIMIT_S = 30
MEMORY_BYTES = 6 * 1024**3

# The first three values of each list are valid.
INTEGERS = ["1", "2", "3", "8", "0", "-1", "1e30", "1000000000000", "9" * 40, "nan", "", " 5 ", "0x10", "٣"]
RANGES = ["1", "2", "1,2", "1:4:x2", "1:4:+1", *INTEGERS[4:], "4:1:x2", "1:4:x1", "1:4:+0", "::", "1:2", ","]
NUMBERS = ["0", "1e-4", "0.5", "-1", "nan", "inf", "1e400", "1e308", "", "x", "1,2", "-0.0"]
SIZES = ["64MiB", "1MB", "100", "M", "64M", "-1", "0", "1e9", "9" * 30, "", "1.5KiB", "∞", "1YiB", "1 GB"]
SEEDS = ["0", "7", "-1", "x", "9" * 30]
FILES = [
    "out.csv",
    "ö ü.csv",
    "no/x.csv",
    "",
    ".",
    "/",
    "/dev/null",
    "a" * 300,
    "/proc/self/mem",
    "\udcff.csv",
]
ACTIVATIONS = ["relu", "tanh", "sigmoid", "gelu", "gelu_tanh", "identity", "rleu", "", "RELU", "relu,tanh"]
OPTIMIZERS = ["sgd", "adam", "momentum", "sdg", "", "sgd,adam"]
DTYPES = ["float32", "float64", "float16", "", "float32,float64"]

CELL = {
    "--depth": RANGES,
    "--width": INTEGERS,
    "--batch": RANGES,
    "--activation": ACTIVATIONS,
    "--optimizer": OPTIMIZERS,
    "--l2": NUMBERS,
    "--dtype": DTYPES,
    "--seed": SEEDS,
    "--update": ["deferred", "eager", "later", ""],
    "--data": ["digits", "synthetic", "", "nothing.csv", "/dev/zero", ".", "x.npz", "digits,synthetic"],
}
PLANS = {
    "--policy": [
        "none",
        "sqrt",
        "revolve:2",
        "revolve:0",
        "revolve",
        "revolve:x",
        "budget:1MiB",
        "budget:1",
        "budget:",
        "budget:5M",
        "none:3",
        "sqrt,none",
        "",
        "sqr",
        "revolve:99999999",
        ":",
        "budget:∞",
    ],
    "--cost": ["flops", "seconds", "time", ""],
    "--accumulate": ["1", "2", "3", "0", "-1", "x", "1e9", "4", "9" * 30],
}
"""The options with which a network can be made to fit."""

FLAGS = [
    "--bias",
    "--json",
    "--force",
    "--help",
    "--no-such",
    "-x",
    "--",
    "extra",
    "--version",
    "-V",
    "-q",
    "--print-config",
]
COMMANDS = {
    "sweep": (
        ["--dry-run", "--timeout", "20"],
        CELL
        | PLANS
        | {
            "--layers": ["4,3,2", "4", "", "0,1", "4,,2", "4,-3,2", "9,8,7,6,5"],
            "--input-size": RANGES,
            "--output-size": RANGES,
            "--allocation": ["auto", "fresh", "packed", "dense"],
            "--threads": RANGES[:8],
            "--steps": ["2", "3", "1", "0", "-1", "x"],
            "--mode": ["both", "train", "infer", "fly", ""],
            "--meters": ["ledger", "heap,ledger", "", "sonar", "ledger,,heap"],
            "--memory": SIZES,
            "--memory-limit": SIZES,
            "--repeat": ["1", "2", "0", "-1", "x", "9999"],
            "--jobs": ["1", "2", "0", "-1", "65", "x"],
            "--timeout": ["20", "0", "-1", "nan", "x"],
            "--resume": FILES,
            "--export-csv": FILES,
            "--export-json": FILES,
        },
    ),
    "train": (
        ["--epochs", "1", "--depth", "1", "--width", "4"],
        {k: v for k, v in CELL.items() if k != "--depth"}
        | PLANS
        | {"--epochs": ["1", "2", "0", "-1", "x"], "--lr": NUMBERS, "--threads": ["1", "2", "0", "x"]},
    ),
    "explain": (
        ["--no-measure"],
        CELL
        | {name: values for name, values in PLANS.items() if name != "--accumulate"}
        | {
            "--depth": INTEGERS,
            "--batch": INTEGERS,
            "--svg": FILES,
            "--dot": FILES,
            "--layers": ["4,3,2", "4"],
        },
    ),
    "frontier": (
        ["--memory", "1MiB", "--no-confirm", "--batch", "64", "--depth", "1,2"],
        CELL | {"--memory": SIZES, "--export-csv": FILES, "--export-json": FILES, "--timeout": NUMBERS},
    ),
}
COMMANDS |= {
    "compare": (
        [],
        {
            "--fail-over": ["5%", "0%", "5", "-1%", "1e9%", ""],
            "--meters": ["ledger", "heap,time", "sonar", ""],
            "--export-csv": FILES,
            "--export-markdown": FILES,
        },
    ),
    "plan": (
        ["--memory", "1MiB", "--no-measure", "--depth", "2", "--width", "8"],
        CELL
        | {name: values for name, values in PLANS.items() if name != "--policy"}
        | {
            "--depth": INTEGERS,
            "--batch": INTEGERS,
            "--memory": SIZES,
            "--points": ["2", "5", "1", "0", "x", "999"],
            "--layers": ["4,3,2", "4", "9,8,7,6,5"],
            "--export-csv": FILES,
            "--export-json": FILES,
            "--html": FILES,
        },
    ),
    "predict": ([], {"--export-csv": FILES}),
    "report": ([], {"--output": FILES, "--memory": SIZES}),
}
COMMANDS["sweep"][1].update({"--config": FILES, "--export-markdown": FILES})
COMMANDS["explain"][1].update({"--config": FILES, "--steps": ["2", "3", "1", "x"]})
COMMANDS["report"][1].update({"--config": FILES, "--export-csv": FILES, "--export-json": FILES})
COMMANDS["help"] = ([], {name: ["", "x"] for name in ("sweep", "help", "swep", "--json", "-h")})
MARKER = "executed"


@dataclass(frozen=True)
class Case:
    """A command line, and its file ``data.csv`` or ``data.npz`` if it has one."""

    seed: int
    arguments: tuple[str, ...]
    file: tuple[str, bytes] | None


def make_case(seed: int) -> Case:
    """The case of a seed."""
    random = Random(seed)
    if random.random() < 0.5:
        file = _data_file(random)
        lines = (
            ["train", "--epochs", "1", "--depth", "1", "--width", "4", "--data", file[0]],
            ["sweep", "--dry-run", "--depth", "1", "--batch", "4", "--data", file[0]],
            ["sweep", "--resume", file[0]],
            ["predict", file[0]],
            ["compare", file[0], file[0]],
            ["report", file[0]],
            ["sweep", "--dry-run", "--config", file[0]],
        )
        weights = (5, 4, 1, 2, 1, 1, 1)
        return Case(seed, tuple(random.choices(lines, weights)[0]), file)
    command = random.choice(list(COMMANDS))
    fixed, options = COMMANDS[command]
    arguments = list(fixed)
    for name in random.sample(list(options), random.randint(1, min(5, len(options)))):
        values = options[name]
        arguments += [name, random.choice(values[:3] if random.random() < 0.6 else values)]
    if random.random() < 0.3:
        arguments.insert(random.randrange(len(arguments) + 1), random.choice(FLAGS))
    if random.random() < 0.1:
        arguments.insert(random.randrange(len(arguments) + 1), _garbled(random))
    return Case(seed, (command, *arguments), None)


def _garbled(random: Random) -> str:
    letters = (*range(1, 127), 0xDC80, 0x2028, 0x1F600)
    return "".join(chr(random.choice(letters)) for _ in range(random.randint(1, 12)))


class _Payload:
    """An object whose pickle runs code when it is loaded."""

    def __reduce__(self):
        return open, (MARKER, "w")


def _data_file(random: Random) -> tuple[str, bytes]:
    if random.random() < 0.5:
        name, content = "data.csv", _csv(random)
    else:
        name, content = "data.npz", _npz(random)
    if random.random() < 0.6:
        content = _mutated(random, content)
    return name, content


def _csv(random: Random) -> bytes:
    columns, rows = random.choice([(1, 3), (3, 8), (3, 0), (0, 4), (2, 60), (20_000, 2)])
    odd = [
        "1",
        "0",
        "-1",
        "2.5",
        "1e39",
        "1e-320",
        "nan",
        "inf",
        "",
        "x",
        '"1"',
        "1_0",
        "٣",
        "0x1",
        "\0",
        "1;2",
    ]
    oddness = random.choice([0, 0.1])

    def value() -> str:
        return random.choice(odd) if random.random() < oddness else "0.5"

    lines = [",".join([*(value() for _ in range(columns)), str(row % 2)]) for row in range(rows)]
    names = ",".join("abc"[i % 3] for i in range(columns + 1))
    header = random.choice(["", f"{names}\n", "\ufeff", "sep=;\n"])
    return (header + random.choice(["\n", "\r\n", "\r", "\n\n"]).join(lines)).encode("utf-8", "surrogatepass")


def _npz(random: Random) -> bytes:
    x = random.choice(
        [
            np.zeros((6, 3), np.float32),
            np.full((6, 3), np.nan),
            np.zeros((6, 2, 2), np.uint8),
            np.zeros((0, 3)),
            np.zeros(6),
            np.zeros((6, 3), complex),
            np.array([["a"] * 3] * 6),
            np.array([[_Payload()] * 3] * 6, object),
            np.zeros((6, 3), ">f8"),
            np.zeros((6, 3), np.longdouble),
            np.zeros(6, "f4,i8"),
            np.zeros((6, 3), "M8[s]"),
            np.full((6, 3), 1e300),
        ]
    )
    labels = np.arange(6) % 2
    y = random.choice(
        [labels, labels + 1, labels / 2, np.zeros((6, 1)), np.full(6, 2**62), np.full(6, np.nan)]
    )
    out = io.BytesIO()
    kind = random.random()
    if kind < 0.6:
        np.savez(out, **random.choice([{"x": x, "y": y}, {"x": x}, {"x": x, "z": y}, {}]), allow_pickle=True)
    elif kind < 0.7:
        out.write(pickle.dumps(_Payload()))
    elif kind < 0.8:
        np.save(out, x, allow_pickle=True)
    else:
        with zipfile.ZipFile(out, "w") as archive:
            for name in ("x.npy", "y.npy"):
                archive.writestr(name, _header(random) + bytes(random.choice([0, 10, 72])))
    return out.getvalue()


def _header(random: Random) -> bytes:
    """An .npy header with random claims."""
    shape = random.choice(["(6, 3)", "(2684354560,)", "(10**10, 3)", "(-1, 3)", "()", "(6, 3", "(1,)*40"])
    dtype = random.choice(["'<f4'", "'<i8'", "'|O'", "'<U99999999'", "'x'", "__import__('os')", "7"])
    order = random.choice(["False", "True", "1"])
    text = f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + bytes([random.choice([1, 2, 3, 9]), 0]) + struct.pack("<H", len(text)) + text


def _mutated(random: Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(random.randint(1, 6)):
        kind, place = random.random(), random.randrange(len(changed) + 1)
        if kind < 0.3:
            del changed[place:]
        elif kind < 0.7 and place < len(changed):
            changed[place] = random.randrange(256)
        else:
            changed[place:place] = random.randbytes(random.randint(1, 40))
    return bytes(changed)


def run(case: Case) -> tuple[int | None, str]:
    """The exit code of a case (``None``: it hung; negative: a signal) and its output on stderr."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as said:
        if case.file is not None:
            Path(folder, case.file[0]).write_bytes(case.file[1])
        child = os.fork()
        if child == 0:
            _run_in_child(case, folder, said.fileno())
        code = _wait(child)
        said.seek(0)
        text = said.read().decode(errors="replace")
        if Path(folder, MARKER).exists():
            text += "\nTraceback: a file was executed"
        return code, text


def _run_in_child(case: Case, folder: str, said: int) -> None:
    code = 99
    try:
        os.setsid()
        os.chdir(folder)
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, 0)
        os.dup2(nowhere, 1)
        os.dup2(said, 2)
        sys.argv = ["memtrain", *case.arguments]
        from memtrain.__main__ import main

        main()
        code = 0
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except BaseException as error:
        print(f"Traceback: {error!r} came out of main", file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(code)


def _wait(child: int) -> int | None:
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def fault(case: Case, code: int | None, said: str) -> str | None:
    """What is wrong with the end of a case; ``None`` if nothing is wrong."""
    if code is None:
        return f"it had not ended after {LIMIT_S} s"
    if code not in (0, 1, 2):
        return f"exit {code}"
    if "Traceback" in said or "Warning" in said:
        return "a traceback or warning"
    if code and not said.strip():
        return "nothing said"
    return None


def main() -> None:
    """Run cases and print the faults. The exit code is 1 if there are any."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    prepare()
    began, codes, faults = time.monotonic(), Counter(), 0
    for seed in range(first, first + count):
        case = make_case(seed)
        code, said = run(case)
        codes[code] += 1
        wrong = fault(case, code, said)
        if wrong:
            faults += 1
            print(f"case {seed}: {wrong}: {case.arguments}\n{said[-800:]}", flush=True)
    took = time.monotonic() - began
    ends = ", ".join(f"exit {code}: {codes[code]:,}" for code in sorted(codes, key=str))
    print(f"{count:,} cases from seed {first} in {took:.0f} s; {ends}; {faults} not as promised")
    sys.exit(1 if faults else 0)


_OF_OTHERS = ("memtrain.engines.torch_", "memtrain.engines.jax_")
"""Modules that import PyTorch or JAX, which takes seconds. Both may be missing."""


def prepare() -> None:
    """Load all modules once, so that each case needs only a fork."""
    for module in pkgutil.walk_packages(memtrain.__path__, "memtrain."):
        if not module.name.endswith("__main__") and not module.name.startswith(_OF_OTHERS):
            importlib.import_module(module.name)
    load_digits()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        app(args=["sweep", "--dry-run", "--depth", "1", "--batch", "1"])


if __name__ == "__main__":
    main()
