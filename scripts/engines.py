"""One measurement of one engine on one network, in this process. `scripts/bench` starts one for each figure.

    python scripts/engines.py ENGINE DEPTH WIDTH BATCH MODE METER     METER: time, heap, resident, tracked
    python scripts/engines.py ENGINE ceiling                          the rate of a 4096³ sgemm

Every engine trains the same multilayer perceptron: no bias, ReLU, cross-entropy, plain gradient descent,
float32, 64 inputs, 10 classes, the same initial values and batch. The answer is a line of JSON on stdout.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

INPUTS, CLASSES, RATE = 64, 10, 0.01
WARM_UP, STEPS, TIMED_S = 3, 7, 0.5
TRACKED_ROUNDS = 5


class Numbers:
    """The initial values and the batch that all engines use."""

    def __init__(self, depth: int, width: int, batch: int) -> None:
        random = np.random.default_rng(0)
        sizes = [INPUTS, *[width] * depth, CLASSES]
        self.depth, self.width, self.batch = depth, width, batch
        self.weights = [
            random.standard_normal((out, into), np.float32) * np.float32((2 / into) ** 0.5)
            for into, out in pairwise(sizes)
        ]
        self.x = random.standard_normal((batch, INPUTS), np.float32)
        self.y = random.integers(0, CLASSES, batch)


Step = Callable[[], object]


def memtrain_engine(numbers: Numbers, mode: str, allocation: str = "packed") -> Callable[[], Step]:
    from memtrain.models.mlp import MLP
    from memtrain.run.allocation import make_run
    from memtrain.training.iteration import inference, training

    network = MLP.of_sizes(INPUTS, (numbers.width,) * numbers.depth, CLASSES, l2=0.0)
    model = network.build(numbers.batch)
    schedule = training(model, "sgd", RATE) if mode == "train" else inference(model)

    def start() -> Step:
        run = make_run(schedule, allocation, threads=int(os.environ.get("OPENBLAS_NUM_THREADS", "1")))
        run.load({f"W{k}": weight for k, weight in enumerate(numbers.weights, start=1)})
        run.feed({"x": numbers.x, "y": numbers.y})
        return lambda: run.iterate()[0]

    return start


def torch_engine(numbers: Numbers, mode: str, compiled: bool = False) -> Callable[[], Step]:
    import torch
    from torch.nn import functional

    class Network(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weights = torch.nn.ParameterList(torch.tensor(weight) for weight in numbers.weights)

        def forward(self, h: torch.Tensor) -> torch.Tensor:
            *hidden, last = self.weights
            for weight in hidden:
                h = functional.relu(functional.linear(h, weight))
            return functional.linear(h, last)

    def start() -> Step:
        network = Network()
        forward = torch.compile(network) if compiled else network
        x, y = torch.tensor(numbers.x), torch.tensor(numbers.y)
        optimizer = torch.optim.SGD(network.parameters(), lr=RATE)

        def train() -> float:
            optimizer.zero_grad()
            loss = functional.cross_entropy(forward(x), y)
            loss.backward()
            optimizer.step()
            return float(loss.item())

        def infer() -> torch.Tensor:
            with torch.inference_mode():
                return forward(x)

        return train if mode == "train" else infer

    return start


def jax_engine(numbers: Numbers, mode: str) -> Callable[[], Step]:
    from functools import partial

    import jax
    import jax.numpy as jnp

    def forward(weights: list[jax.Array], h: jax.Array) -> jax.Array:
        *hidden, last = weights
        for weight in hidden:
            h = jax.nn.relu(h @ weight.T)
        return h @ last.T

    def objective(weights: list[jax.Array], x: jax.Array, y: jax.Array) -> jax.Array:
        logp = jax.nn.log_softmax(forward(weights, x))
        return -jnp.take_along_axis(logp, y[:, None], axis=1).mean()

    @partial(jax.jit, donate_argnums=0)
    def update(weights: list[jax.Array], x: jax.Array, y: jax.Array) -> tuple[list[jax.Array], jax.Array]:
        loss, slopes = jax.value_and_grad(objective)(weights, x, y)
        return [weight - RATE * slope for weight, slope in zip(weights, slopes, strict=True)], loss

    predict = jax.jit(forward)

    def start() -> Step:
        weights = [jnp.array(weight) for weight in numbers.weights]
        x, y = jnp.array(numbers.x), jnp.array(numbers.y)

        def train() -> float:
            nonlocal weights
            weights, loss = update(weights, x, y)
            jax.block_until_ready(weights)
            return float(loss)

        return train if mode == "train" else lambda: predict(weights, x).block_until_ready()

    return start


ENGINES: dict[str, Callable[[Numbers, str], Callable[[], Step]]] = {
    "memtrain": memtrain_engine,
    "torch": torch_engine,
    "torch.compile": lambda numbers, mode: torch_engine(numbers, mode, compiled=True),
    "jax": jax_engine,
}


def seconds_per_step(step: Step) -> list[float]:
    """The seconds of each of at least 7 steps, which take at least half a second, after a warm-up."""
    for _ in range(WARM_UP):
        step()
    seconds: list[float] = []
    while len(seconds) < STEPS or sum(seconds) < TIMED_S:
        before = perf_counter()
        step()
        seconds.append(perf_counter() - before)
    return seconds


def warm(start: Callable[[], Step]) -> None:
    """Run two steps of the network, so that code is compiled and loaded; then give back all memory."""
    step = start()
    step()
    step()
    del step
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


def heap_peak_bytes(start: Callable[[], Step]) -> int:
    """The most bytes requested from the allocator at one time, including parameters and batch (memray)."""
    import memray

    warm(start)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "heap.bin")
        with memray.Tracker(file):
            step = start()
            for _ in range(3):
                step()
        return int(memray.FileReader(file).metadata.peak_memory)


def resident_peak_bytes(start: Callable[[], Step]) -> int:
    """The resident peak of the process above its baseline, including parameters and batch (VmHWM)."""

    def status(name: str) -> int:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))

    warm(start)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    baseline = status("VmRSS")
    step = start()
    for _ in range(3):
        step()
    return status("VmHWM") - baseline


def tracked_seconds(start: Callable[[], Step]) -> dict[str, float]:
    """The median seconds of a step without and with a memray tracker, measured in turns."""
    import memray

    step = start()
    found: dict[str, list[float]] = {"untracked_s": [], "tracked_s": []}
    for _ in range(WARM_UP):
        step()
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(TRACKED_ROUNDS):
            found["untracked_s"] += timed(step)
            with memray.Tracker(Path(folder, f"{turn}.bin")):
                found["tracked_s"] += timed(step)
    return {name: median(seconds) for name, seconds in found.items()}


def timed(step: Step) -> list[float]:
    """The seconds of each of a few steps."""
    seconds: list[float] = []
    while len(seconds) < 3 or sum(seconds) < 0.1:
        before = perf_counter()
        step()
        seconds.append(perf_counter() - before)
    return seconds


def ceiling_flops(engine: str) -> float:
    """The FLOP/s of a product of two 4096×4096 matrices: the best of 5."""
    size = 4096
    a = np.random.default_rng(0).standard_normal((size, size), np.float32)
    if engine == "jax":
        import jax

        product, x = jax.jit(lambda x: x @ x), jax.numpy.array(a)
        call: Step = lambda: product(x).block_until_ready()  # noqa: E731
    elif engine == "torch":
        import torch

        x, out = torch.tensor(a), torch.empty(size, size)
        call = lambda: torch.mm(x, x, out=out)  # noqa: E731
    else:
        result = np.empty_like(a)
        b = a.copy()  # a product of a with itself would use another BLAS routine
        call = lambda: np.matmul(a, b, out=result)  # noqa: E731
    call()
    seconds = []
    for _ in range(5):
        before = perf_counter()
        call()
        seconds.append(perf_counter() - before)
    return 2 * size**3 / min(seconds)


def main() -> None:
    engine, *rest = sys.argv[1:]
    if rest == ["ceiling"]:
        answer: object = ceiling_flops(engine)
    else:
        depth, width, batch, mode, meter = rest
        numbers = Numbers(int(depth), int(width), int(batch))
        if meter == "tracked":  # fresh arrays, as the heap meter of `memtrain sweep` has them
            answer = tracked_seconds(memtrain_engine(numbers, mode, "fresh"))
        else:
            start = ENGINES[engine](numbers, mode)
            meters: dict[str, Callable[[], object]] = {
                "time": lambda: seconds_per_step(start()),
                "heap": lambda: heap_peak_bytes(start),
                "resident": lambda: resident_peak_bytes(start),
            }
            answer = meters[meter]()
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
