"""Step time and resident peak of training beside PyTorch, for a network of each family.

    python tests/families_bench.py [--rounds N] [--threads N]      (or scripts/families)

Every figure comes from a fresh process, and the engines take turns. PyTorch trains the network as its users
write it: its own LSTM, fused attention, batch norm with running statistics. Both use plain gradient descent,
without weight decay.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from math import prod
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from memtrain.run.blas import blas_environment

SCRIPTS = Path(__file__).parents[1] / "scripts"
ENGINES = ("memtrain", "torch")
RATE = 0.01


class Bench(NamedTuple):
    """A network by the columns of its family, or the name of an architecture, with a batch."""

    name: str
    batch: int
    family: str
    columns: dict[str, object]


BENCHES = (
    Bench("LeNet, 28²", 256, "lenet", {"depth": 2, "image": 28}),
    Bench("cnn, 6 blocks of 64 channels, 32²", 64, "cnn", {"depth": 6, "width": 64, "channels": 3}),
    Bench("ResNet-18, 64²", 8, "", {}),
    Bench("transformer 4×256, 4 heads, T 128", 8, "transformer", {"depth": 4, "width": 256}),
    Bench("LSTM 2×256, T 64", 32, "rnn", {"depth": 2, "width": 256}),
)

Step = Callable[[], object]


def model_of(bench: Bench):
    """The model of memtrain."""
    if bench.family:
        from memtrain.models.families import make_network

        return make_network(bench.family, {**bench.columns, "l2": 0.0}).build(bench.batch)
    from architectures import of_images, resnet_18

    return of_images(resnet_18, bias=False, side=64)(bench.batch)


def values_of(model) -> dict[str, np.ndarray]:
    """Random values of all leaves: small parameters, variances of 1, tokens, labels and images."""
    random = np.random.default_rng(0)
    values = {}
    for node in model.parameters:
        fan_in = max(1, node.size // max(node.shape[-1:] or (1,)))
        values[node.name] = random.standard_normal(node.shape, np.float32) * np.float32(fan_in**-0.5)
        if node.name.startswith(("var", "γ")):
            values[node.name] = np.ones(node.shape, np.float32)
    for node in model.feeds:
        whole = node.dtype.kind in "iu"
        drawn = random.integers(0, 10, node.shape) if whole else random.standard_normal(node.shape)
        values[node.name] = drawn.astype(node.dtype)
    return values


def memtrain_engine(bench: Bench) -> Callable[[], Step]:
    from memtrain.run.allocation import PACKED, make_run
    from memtrain.training.iteration import training

    model = model_of(bench)
    values, schedule = values_of(model), training(model, "sgd", RATE)
    feeds = {node.name for node in model.feeds} & {leaf.name for leaf in schedule.graph}

    def start() -> Step:
        run = make_run(schedule, PACKED)
        run.load({node.name: values[node.name] for node in model.parameters})
        run.feed({name: values[name] for name in feeds})
        return lambda: run.iterate()[0]

    return start


def torch_engine(bench: Bench) -> Callable[[], Step]:
    import torch
    from torch_images import as_torch

    F = torch.nn.functional
    model = model_of(bench)
    values = values_of(model)
    x, y = (torch.tensor(as_torch(values[node.name])) for node in model.feeds[:2])
    objective = _module_loss(bench, x, y) or _functional_loss(bench, model, values, x, y)

    def start() -> Step:
        parameters, loss_of = objective(F)
        optimizer = torch.optim.SGD(parameters, lr=RATE)

        def step() -> float:
            optimizer.zero_grad()
            loss = loss_of()
            loss.backward()
            optimizer.step()
            return float(loss.item())

        return step

    return start


def _module_loss(bench: Bench, x, y):
    """For a network of PyTorch's own modules: a function that makes its parameters and its loss."""
    import torch

    if bench.family in ("cnn", "transformer"):
        return None

    def made(F):
        if bench.family == "rnn":
            width, depth = bench.columns["width"], bench.columns["depth"]
            parts = torch.nn.ModuleList(
                [torch.nn.Embedding(256, width), torch.nn.LSTM(width, width, depth, batch_first=True)]
            )
            parts.append(torch.nn.Linear(width, 256))

            def output():
                embed, recur, last = parts
                return last(recur(embed(x))[0]).flatten(0, 1)

            return parts.parameters(), lambda: F.cross_entropy(output(), y.flatten())
        from torch_architectures import lenet, resnet_18

        module = lenet() if bench.family == "lenet" else resnet_18()
        return module.parameters(), lambda: F.cross_entropy(module(x), y)

    return made


def _functional_loss(bench: Bench, model, values, x, y):
    """For the other networks: the same from PyTorch's functions."""
    import torch
    import torch_images
    import torch_tokens
    from torch_images import as_torch

    from memtrain.models.families import make_network

    network = make_network(bench.family, bench.columns)

    def made(F):
        t = {node.name: torch.tensor(as_torch(values[node.name])) for node in model.parameters}
        learned = [t[node.name].requires_grad_() for node in model.trainable]
        if bench.family == "cnn":
            return learned, lambda: F.cross_entropy(torch_images.cnn(network, t, x), y)
        return learned, lambda: torch_tokens.loss(network, t, x, y)

    return made


def answer(bench: Bench, engine: str, meter: str) -> object:
    """One figure, in this process."""
    sys.path.insert(0, str(SCRIPTS))
    from engines import resident_peak_bytes, seconds_per_step

    start = memtrain_engine(bench) if engine == "memtrain" else torch_engine(bench)
    return resident_peak_bytes(start) if meter == "resident" else median(seconds_per_step(start()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--figure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.figure:
        number, engine, meter = options.figure
        print(json.dumps(answer(BENCHES[int(number)], engine, meter)))
        return
    settings = {**os.environ, **blas_environment(options.threads, os.environ)}
    cores = sorted(os.sched_getaffinity(0))[: options.threads]

    def ask(number: int, engine: str, meter: str) -> float:
        line = [sys.executable, __file__, "--figure", str(number), engine, meter]
        ran = subprocess.run(
            line,
            env=settings,
            capture_output=True,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        if ran.returncode:
            raise SystemExit(ran.stderr)
        return float(json.loads(ran.stdout))

    print("| network | batch | memtrain, ms | PyTorch, ms | time ÷ PyTorch | resident, MiB | PyTorch, MiB |")
    print("|---|---|---|---|---|---|---|")
    ratios = []
    for number, bench in enumerate(BENCHES):
        rounds = [[ask(number, engine, "time") for engine in ENGINES] for _ in range(options.rounds)]
        ours, theirs = (median(found) * 1e3 for found in zip(*rounds, strict=True))
        ratios.append(median(mine / other for mine, other in rounds))
        resident = [ask(number, engine, "resident") / 2**20 for engine in ENGINES]
        print(
            f"| {bench.name} | {bench.batch} | {ours:.1f} | {theirs:.1f} | {ratios[-1]:.2f} | "
            f"{resident[0]:.1f} | {resident[1]:.1f} |",
            flush=True,
        )
    print(f"\nGeometric mean: {prod(ratios) ** (1 / len(ratios)):.2f}.")


if __name__ == "__main__":
    main()
