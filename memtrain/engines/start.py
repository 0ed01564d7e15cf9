"""The runs of a network in PyTorch and in JAX. Nothing else imports either, since both may be missing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from memtrain.engines.loop import Loop
from memtrain.errors import MeasureError
from memtrain.models.network import Network
from memtrain.planning.schedule import Schedule
from memtrain.run.ledger import Ledger

if TYPE_CHECKING:
    from memtrain.engines.jax_run import JaxRun
    from memtrain.engines.torch_run import TorchRun


def jax_run(network: Network, batch: int, optimizer: str, rate: float | None, threads: int) -> JaxRun:
    """A run of training at a learning ``rate``, or of inference if it is ``None``.

    JAX takes its threads from the process, so a request for one is made before it is loaded. Raises
    ``MeasureError`` if there is no JAX.
    """
    if threads == 1:
        os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
    try:
        from memtrain.engines.jax_run import JaxRun
    except ImportError as error:
        raise MeasureError(f"the engine jax needs JAX ({error}); install it beside memtrain") from error
    return JaxRun(network, batch, optimizer, rate)


def torch_run(
    network: Network,
    batch: int,
    loop: Loop,
    rate: float | None,
    schedule: Schedule,
    *,
    with_history: bool = False,
    ledger: Ledger | None = None,
    most_counted: int | None = None,
) -> TorchRun:
    """A run of what ``schedule`` predicts: training at a learning ``rate``, or inference if it is ``None``.

    The ledger counts ``most_counted`` iterations, or all. Raises ``MeasureError`` if there is no PyTorch.
    """
    try:
        from memtrain.engines.torch_run import TorchRun
    except ImportError as error:
        raise MeasureError(f"the engine torch needs PyTorch ({error}); add the extra torch") from error
    steps = [number for number, step in enumerate(schedule.steps) if schedule.graph[step.node].owns_storage]
    return TorchRun(
        network,
        batch,
        loop,
        rate,
        with_history=with_history,
        ledger=ledger,
        steps=steps,
        most_counted=most_counted,
    )
