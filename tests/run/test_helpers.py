"""Threads that share the large elementwise steps of a packed run."""

from __future__ import annotations

import gc
import threading
import time

import numpy as np
import pytest
from networks import build, initial_values, mlp
from runs import leaf_values

from memtrain.graph.ops.base import SHARED
from memtrain.run.allocation import PACKED, make_run
from memtrain.run.helpers import Helpers
from memtrain.training.iteration import training


def trained(threads: int, activation: str, optimizer: str) -> list[bytes]:
    """The loss and all leaves after three iterations of a network whose arrays are shared out."""
    spec = mlp(2048, 64, (300, 300), 10, activation=activation, bias=True)
    assert SHARED < 2048 * 300
    run = make_run(training(build(spec), optimizer, 1e-3), PACKED, threads=threads)
    run.load(leaf_values(run.schedule, 6) | initial_values(spec, seed=3))
    losses = [run.iterate()[0].tobytes() for _ in range(3)]
    return losses + [run.value(run.schedule.graph[i].name).tobytes() for i in run.schedule.persistent]


@pytest.mark.parametrize(
    ("activation", "optimizer"), [("relu", "sgd"), ("gelu", "adam"), ("silu", "momentum")]
)
def test_helpers_do_not_change_a_bit_of_a_training(activation, optimizer):
    alone = trained(1, activation, optimizer)
    assert trained(2, activation, optimizer) == alone
    assert trained(3, activation, optimizer) == alone


def test_each_call_runs_in_a_thread_of_its_own_at_the_same_time():
    helpers, met = Helpers(2), threading.Barrier(3, timeout=10)  # no call passes alone
    names = []

    def call() -> None:
        met.wait()
        names.append(threading.current_thread().name)

    helpers.together([call] * 3)()
    assert len(set(names)) == 3


def test_an_error_in_a_helper_is_raised_after_all_calls_have_ended():
    ended = []

    def slow() -> None:
        time.sleep(0.05)
        ended.append("slow")

    def wrong() -> None:
        raise MemoryError("no room")

    helpers = Helpers(2)
    with pytest.raises(MemoryError, match="no room"):
        helpers.together([lambda: None, wrong, slow])()
    assert ended == ["slow"]
    helpers.together([lambda: None, slow])()  # the threads still serve
    assert ended == ["slow", "slow"]


def test_a_helper_uses_the_error_settings_of_the_caller():
    large = np.full(4, 1e38, np.float32)
    square = Helpers(1).together([lambda: None, lambda: np.multiply(large, large)])
    with np.errstate(all="ignore"):
        square()
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        square()


def test_the_threads_end_with_the_run():
    before = set(threading.enumerate())
    run = make_run(training(build(mlp(2048, 64, (300,), 10)), "sgd", 0.1), PACKED, threads=3)
    run.load(leaf_values(run.schedule, 6))
    run.iterate()
    own = [thread for thread in threading.enumerate() if thread not in before]
    assert len(own) == 2
    del run
    gc.collect()
    for thread in own:
        thread.join(timeout=10)
        assert not thread.is_alive()
