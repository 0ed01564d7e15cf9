"""A comparison of engines on the same networks. It prints a table and ratios, and writes results/bench.csv.

Every figure comes from a fresh process of `scripts/engines.py`. The engines take turns, so that other load on
the machine affects all of them. All use the same number of threads on the same cores, and otherwise their
defaults.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from itertools import pairwise, product
from math import isnan, nan, prod
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from memtrain.run.blas import blas_environment

ROOT = Path(__file__).parent.parent
ENGINES = ("memtrain", "torch", "torch.compile", "jax")
CELLS = ((8, 256, 64), (4, 1024, 256), (8, 1024, 1024), (16, 512, 4096), (32, 256, 8192))
MODES = ("train", "infer")
COLUMNS = (
    "engine",
    "depth",
    "width",
    "batch",
    "mode",
    "step_s",
    "heap_peak_bytes",
    "resident_peak_bytes",
    "gflops",
    "ceiling_fraction",
)
LARGE_BYTES = 100 * 1024**2
"""Resident peaks are compared if activations exceed this. In smaller networks the libraries dominate."""

Cell = tuple[int, int, int]
Key = tuple[str, Cell, str]


def step_flops(cell: Cell, mode: str) -> int:
    """The FLOPs of the matrix products of a step. Training needs no gradient of the input."""
    depth, width, batch = cell
    sizes = [64, *[width] * depth, 10]
    forward = 2 * batch * sum(a * b for a, b in pairwise(sizes))
    return forward if mode == "infer" else 3 * forward - 2 * batch * sizes[0] * sizes[1]


class Children:
    """Starts each engine in a new process, always on the same cores and with the same number of threads."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.cores = sorted(os.sched_getaffinity(0))[:threads]
        # memtrain's BLAS kernel must be chosen before numpy is imported; the peers have their own BLAS
        self.settings = blas_environment(threads, os.environ)

    def ask(self, *arguments: object) -> object:
        """The JSON answer of an engine; ``None`` if it failed. The reason is then printed to stderr."""
        child = subprocess.run(
            [sys.executable, str(ROOT / "scripts" / "engines.py"), *map(str, arguments)],
            env={**os.environ, **self.settings},
            preexec_fn=lambda: os.sched_setaffinity(0, self.cores),
            capture_output=True,
            text=True,
        )
        if child.returncode:
            reason = (child.stderr.strip().splitlines() or [f"exit {child.returncode}"])[-1]
            print(f"{' '.join(map(str, arguments))}: {reason}", file=sys.stderr)
            return None
        return json.loads(child.stdout)


def measure(
    children: Children, rounds: int, log: Console, engines: Sequence[str], modes: Sequence[str]
) -> tuple[dict[Key, dict[str, float]], dict[Key, list[float]], float]:
    """Figures by engine, cell and mode; the seconds of each round; and the best measured sgemm rate."""
    seconds: dict[Key, list[float]] = {}
    figures: dict[Key, dict[str, float]] = {}
    ceilings = [children.ask(engine, "ceiling") for engine in engines if engine != "torch.compile"]
    for cell, mode in product(CELLS, modes):
        for meter in ["time"] * rounds + ["heap", "resident"]:
            for engine in engines:
                log.print(f"{engine} {'×'.join(map(str, cell))} {mode} {meter}", highlight=False)
                answer = children.ask(engine, *cell, mode, meter)
                key = (engine, cell, mode)
                figures.setdefault(key, {})
                if meter == "time":
                    steps = answer if isinstance(answer, list) else [nan]
                    seconds.setdefault(key, []).append(median(steps))
                elif isinstance(answer, (int, float)):
                    figures[key][f"{meter}_peak_bytes"] = answer
    ceilings += [children.ask(engine, "ceiling") for engine in engines if engine != "torch.compile"]
    ceiling = max(rate for rate in ceilings if isinstance(rate, float))
    for key, found in seconds.items():
        worked = [step_s for step_s in found if not isnan(step_s)]
        if worked:
            figures[key]["step_s"] = median(worked)
            rate = step_flops(*key[1:]) / median(worked)
            figures[key] |= {"gflops": rate / 1e9, "ceiling_fraction": rate / ceiling}
    return figures, seconds, ceiling


def write(figures: dict[Key, dict[str, float]], path: Path) -> None:
    """Write all rows as CSV. Missing figures are empty."""
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for (engine, cell, mode), found in figures.items():
            rounded = {name: float(f"{value:.6g}") for name, value in found.items() if "bytes" not in name}
            cells = [(found | rounded).get(name, "") for name in COLUMNS[5:]]
            writer.writerow([engine, *cell, mode, *cells])


def table(figures: dict[Key, dict[str, float]], mode: str, engines: Sequence[str]) -> Table:
    """A table with a line per network: for each engine, its step, the share of the ceiling, and its peaks."""
    shown = Table(
        title=f"{mode}: step ms (of the sgemm ceiling) · heap MiB · resident MiB", title_justify="left"
    )
    shown.add_column("depth × width × batch")
    for engine in engines:
        shown.add_column(engine, justify="right")
    for cell in CELLS:
        row = [" × ".join(map(str, cell))]
        for engine in engines:
            found = figures.get((engine, cell, mode), {})
            step = (
                f"{1e3 * found['step_s']:.1f} ({found['ceiling_fraction']:.0%})" if "step_s" in found else "–"
            )
            peaks = [f"{found[m] / 2**20:.1f}" if m in found else "–" for m in COLUMNS[6:8]]
            row.append(" · ".join([step, *peaks]))
        shown.add_row(*row)
    return shown


def ratios(figures: dict[Key, dict[str, float]], seconds: dict[Key, list[float]]) -> list[str]:
    """A sentence for each peer and mode, with the ratios of memtrain's figures to the peer's.

    A ratio of times is the median over the rounds. The engines took turns in each round, so that other load
    on the machine affected both.
    """
    lines = []
    for peer, mode in product(ENGINES[1:], MODES):
        pairs = [
            (cell, figures["memtrain", cell, mode], figures[peer, cell, mode])
            for cell in CELLS
            if "step_s" in figures.get((peer, cell, mode), {})
        ]
        if not pairs:
            continue
        steps = [
            median(
                ours / theirs
                for ours, theirs in zip(
                    seconds["memtrain", cell, mode], seconds[peer, cell, mode], strict=True
                )
                if not isnan(ours / theirs)
            )
            for cell, _, _ in pairs
        ]
        heaps = [
            (ours["heap_peak_bytes"] - 2**19) / theirs["heap_peak_bytes"]
            for _, ours, theirs in pairs
            if "heap_peak_bytes" in theirs
        ]
        residents = [
            ours["resident_peak_bytes"] / theirs["resident_peak_bytes"]
            for (depth, width, batch), ours, theirs in pairs
            if 4 * depth * width * batch > LARGE_BYTES and "resident_peak_bytes" in theirs
        ]
        lines.append(
            f"{mode}, memtrain ÷ {peer}: step {prod(steps) ** (1 / len(steps)):.2f} (geometric mean; "
            f"{', '.join(f'{step:.2f}' for step in steps)}); heap less 512 KiB at most {max(heaps):.2f}; "
            f"resident where activations exceed 100 MiB {', '.join(f'{r:.2f}' for r in residents)}"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="processes for each time, 7 steps or more each")
    parser.add_argument("--threads", type=int, default=min(2, len(os.sched_getaffinity(0))))
    parser.add_argument("--engines", default=",".join(ENGINES), help="memtrain and its peers")
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--output", type=Path, default=ROOT / "results" / "bench.csv")
    options = parser.parse_args()
    out, log = Console(), Console(stderr=True, style="dim")
    children = Children(options.threads)
    engines, modes = options.engines.split(","), options.modes.split(",")

    out.print(f"{_cpu()}, {options.threads} threads on cores {children.cores}")
    out.print(", ".join(f"{name} {version(name)}" for name in ("numpy", "torch", "jax", "memray")))
    inherited = {name: os.environ[name] for name in sorted(os.environ) if _matters(name)}
    out.print(f"environment: {inherited | children.settings}", soft_wrap=True)

    figures, seconds, ceiling = measure(children, options.rounds, log, engines, modes)
    write(figures, options.output)
    out.print(f"sgemm ceiling: {ceiling / 1e9:.0f} GFLOP/s (4096³, best of 5, best of the engines)")
    for mode in modes:
        out.print(table(figures, mode, engines))
    for line in ratios(figures, seconds):
        out.print(line, soft_wrap=True)
    for cell in CELLS:
        answer = children.ask("memtrain", *cell, "train", "tracked")
        if isinstance(answer, dict):
            slowed = answer["tracked_s"] / answer["untracked_s"]
            out.print(
                f"a step at {' × '.join(map(str, cell))} under the heap meter: {slowed:.2f} of one without it"
            )
    out.print(f"rows: {options.output}")


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _matters(name: str) -> bool:
    return name.startswith(
        ("OMP_", "MKL_", "OPENBLAS_", "XLA_", "JAX_", "TORCH", "MALLOC_", "NUMPY_", "KMP_")
    )


if __name__ == "__main__":
    main()
