"""What an iteration of PyTorch keeps: predicted, counted, and as autograd's own hooks see it."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
from torch_cells import counted, trained
from torch_saved import saved_bytes

from memtrain.cells.cell import Mode, cell_of
from memtrain.engines import functions
from memtrain.engines.functions_arithmetic import multiply
from memtrain.engines.tape import Tape
from memtrain.graph.builder import Builder
from memtrain.graph.gradient import gradient
from memtrain.graph.node import Role
from memtrain.graph.ops.arithmetic import multiply as times
from memtrain.graph.ops.arithmetic import sum_to
from memtrain.graph.ops.source import Leaf
from memtrain.models.layers import activate, linear
from memtrain.planning.liveness import analyse
from memtrain.planning.schedule import make_schedule
from memtrain.training.keeping import AFTER_UPDATE, BEFORE_FORWARD, KEPT

torch = pytest.importorskip("torch")
F = torch.nn.functional
FLOAT = np.dtype(np.float32)
DEEP = {"depth": 16, "batch": 1024, "data": "synthetic", "l2": 0.0, "engine": "torch"}


def predicted(mode=Mode.TRAIN, **columns):
    """The predicted peak of a cell. Fails unless the ledger counts the same."""
    ledger, _, workload = counted(cell_of(**columns), mode)
    assert ledger.peak_bytes == analyse(workload.schedule).peak_bytes
    return ledger.peak_bytes


def test_forward_without_no_grad_holds_what_backward_would_read():
    """At the last activation, z stands beside all h. memtrain's engine writes h over z instead."""
    held, hidden = 4_007_936 + 1024 * 64 * 4, 1024 * 256 * 4
    assert predicted(Mode.INFER, **DEEP) == held + 2 * hidden == 6_367_232
    assert predicted(Mode.EVAL_GRAD, **DEEP) == held + 17 * hidden == 22_095_872


def test_the_first_iteration_has_no_state_before_its_update():
    """The peak is in backward here, so the first iteration needs less by all of Adam's state."""
    cell = {
        "depth": 2,
        "width": 64,
        "batch": 4096,
        "data": "synthetic",
        "engine": "torch",
        "optimizer": "adam",
    }
    state = cell_of(**cell).schedule(Mode.TRAIN).leaves(Role.OPTIMIZER)
    assert predicted(**cell, steps=3) - predicted(**cell, steps=1) == sum(leaf.nbytes for leaf in state)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_a_fused_optimiser_needs_no_temporaries(optimizer):
    """The batch is small, so the peak is in the update: all parameters, gradients and state, and the loss."""
    cell = {
        "depth": 2,
        "width": 256,
        "batch": 1,
        "data": "synthetic",
        "engine": "torch",
        "optimizer": optimizer,
    }
    schedule = cell_of(**cell).schedule(Mode.TRAIN)
    leaves = sum(schedule.graph[i].nbytes for i in schedule.persistent)
    gradients = sum(leaf.nbytes for leaf in schedule.leaves(Role.PARAMETER))
    fused = predicted(**cell, fused=True)
    assert leaves + gradients + 4 <= fused <= leaves + gradients + 4 * 4 * 256
    assert predicted(**cell) > fused


@pytest.mark.parametrize("gradients", [AFTER_UPDATE, BEFORE_FORWARD, KEPT])
@pytest.mark.parametrize("form", [{}, {"foreach": True}, {"fused": True}])
@pytest.mark.parametrize("retain_graph", [False, True])
def test_what_is_kept_changes_no_value(gradients, form, retain_graph):
    cell = cell_of(
        depth=2, width=5, batch=4, data="synthetic", engine="torch", optimizer="adam", dtype="float64"
    )
    losses, parameters = trained(cell)
    found, values = trained(cell.changed(gradients=gradients, retain_graph=retain_graph, **form))
    np.testing.assert_allclose(found, losses, rtol=1e-12)
    for name, value in parameters.items():
        np.testing.assert_allclose(values[name], value, rtol=1e-9)


def test_a_layer_that_is_used_twenty_times_keeps_an_input_for_each_use():
    """Linear(64, 64) with a bias, batch 512: the inputs of the uses 2 to 20 are kept; the first is given."""
    n, m, uses = 512, 64, 20
    array = n * m * 4
    layer, x = torch.nn.Linear(m, m), torch.randn(n, m)
    assert saved_bytes(
        lambda: reduce(lambda h, _: layer(h), range(uses), x).sum(), [x, *layer.parameters()]
    ) == (2_490_368)
    tape = Tape()
    weight = tape.leaf(Role.PARAMETER, "W", (m, m), FLOAT, trained=True)
    bias = tape.leaf(Role.PARAMETER, "b", (m,), FLOAT, trained=True)
    reduce(
        lambda h, _: functions.linear(h, weight, bias), range(uses), tape.leaf(Role.INPUT, "x", (n, m), FLOAT)
    )
    graph = tape.builder.graph()
    assert (
        sum({i: graph[i].nbytes for i in {s.node for s in tape.saved} if not graph[i].role}.values())
        == 19 * array
    )

    ours = [analyse(_uses(count, n, m)) for count in range(1, uses + 1)]
    assert sum(node.nbytes for node in ours[-1].retained) == 2_490_368
    peaks = [liveness.peak_bytes for liveness in ours]
    assert all(more - less <= array for less, more in pairwise(peaks))


def _uses(count, n, m):
    """The schedule of memtrain's engine: the layer applied ``count`` times to its own output, and the sum."""
    b = Builder()
    h = b.apply(Leaf(Role.INPUT, (n, m), FLOAT), name="x")
    weight = b.apply(Leaf(Role.PARAMETER, (m, m), FLOAT), name="W")
    bias = b.apply(Leaf(Role.PARAMETER, (m,), FLOAT), name="b")
    for number in range(count):
        h = linear(b, h, weight, bias, name=f"h{number}")
    return _of_sum(b, h, [weight, bias])


def _of_sum(b, output, parameters):
    """The schedule of the sum of ``output`` and of its gradients."""
    objective = sum_to(b, output, ())
    gradients = gradient(b, objective, parameters)
    return make_schedule(b.graph(), [objective, *gradients])


LAYERS, N, M = 3, 128, 256
MODULES = {
    "leaky_relu in place": (3, lambda x: F.leaky_relu(x, inplace=True)),
    "silu": (5, F.silu),
    "mish": (5, F.mish),
    "hard_swish": (5, F.hardswish),
    "relu6": (5, F.relu6),
    "elu": (5, F.elu),
    "softplus": (5, F.softplus),
    "silu in place": (5, lambda x: F.silu(x, inplace=True)),
    "mish of its parts": (8, lambda x: x * torch.tanh(F.softplus(x))),
}
"""How many arrays of 131,072 B three hidden layers keep in PyTorch: z and h, or h only if it replaces z."""


@pytest.mark.parametrize("name", MODULES)
def test_the_arrays_that_three_layers_keep_in_pytorch(name):
    count, act = MODULES[name]
    layers, x = [torch.nn.Linear(M, M) for _ in range(LAYERS)], torch.randn(N, M)
    given = [x, *(p for layer in layers for p in layer.parameters())]
    forward = lambda: reduce(lambda h, layer: act(layer(h)), layers, x).sum()  # noqa: E731
    assert saved_bytes(forward, given) == count * N * M * 4


ON_THE_TAPE = {
    "leaky_relu in place": lambda x: functions.leaky_relu(x, inplace=True),
    "silu": functions.silu,
    "mish": functions.mish,
    "hard_swish": functions.hardswish,
    "elu": functions.elu,
    "softplus": functions.softplus,
    "silu in place": lambda x: functions.silu(x, inplace=True),
    "mish of its parts": lambda x: multiply(x, functions.tanh(functions.softplus(x))),
}


@pytest.mark.parametrize("name", ON_THE_TAPE)
def test_the_arrays_that_are_predicted_for_pytorch(name):
    tape = Tape()
    h = tape.leaf(Role.INPUT, "x", (N, M), FLOAT)
    for k in range(LAYERS):
        weight = tape.leaf(Role.PARAMETER, f"W{k}", (M, M), FLOAT, trained=True)
        bias = tape.leaf(Role.PARAMETER, f"b{k}", (M,), FLOAT, trained=True)
        h = ON_THE_TAPE[name](functions.linear(h, weight, bias))
    graph = tape.builder.graph()
    storages = {graph[saved.node].storage for saved in tape.saved if not graph[saved.node].role}
    storages -= {graph[node.id].storage for node in graph if node.role}
    assert sum(graph[i].nbytes for i in storages) == MODULES[name][0] * N * M * 4


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("leaky_relu", 3),
        ("elu", 3),
        ("softplus", 3),
        ("silu", 5),
        ("mish", 5),
        ("hard_swish", 5),
        ("parts", 11),
    ],
)
def test_the_arrays_that_three_layers_keep_in_memtrain(name, count):
    """A rule that reads the output keeps h only. Softplus has one; a Mish of its parts keeps z, s and t."""
    b = Builder()
    h, parameters = b.apply(Leaf(Role.INPUT, (N, M), FLOAT), name="x"), []
    for k in range(LAYERS):
        weight = b.apply(Leaf(Role.PARAMETER, (M, M), FLOAT), name=f"W{k}")
        bias = b.apply(Leaf(Role.PARAMETER, (M,), FLOAT), name=f"b{k}")
        parameters += [weight, bias]
        z = linear(b, h, weight, bias, name=f"z{k}")
        if name == "parts":
            h = times(b, z, activate(b, "tanh", activate(b, "softplus", z, name=f"s{k}"), name=f"t{k}"))
        else:
            h = activate(b, name, z, name=f"h{k}")
    assert sum(node.nbytes for node in analyse(_of_sum(b, h, parameters)).retained) == count * N * M * 4
