"""Norms against central differences and PyTorch, and their running statistics."""

from __future__ import annotations

import numpy as np
import pytest
from derivatives import check_gradient
from examples import leaf

from memtrain.graph.builder import Builder
from memtrain.graph.gradient import gradient
from memtrain.graph.inference import effects, inference_form
from memtrain.graph.node import Role
from memtrain.graph.ops import OPS
from memtrain.graph.ops.arithmetic import multiply, sum_to
from memtrain.graph.ops.norm import batch_norm, group_norm, layer_norm, rms_norm
from memtrain.graph.ops.source import Leaf
from memtrain.planning.liveness import analyse
from memtrain.planning.schedule import make_schedule
from memtrain.run.executor import Run

F8 = np.dtype(np.float64)
SMALL = {"layer": (4, 5), "rms": (2, 2, 5), "group": (2, 2, 2, 6), "batch": (5, 3)}
LARGE = {"layer": (300, 200), "rms": (3, 50, 33), "group": (3, 40, 50, 16), "batch": (4, 30, 20, 24)}
GROUPS = 2


def norm(b, kind, x, gamma, beta, running=None):
    """The norm of a kind; a batch norm has its own running statistics unless they are given."""
    if kind == "layer":
        return layer_norm(b, x, gamma, beta)
    if kind == "rms":
        return rms_norm(b, x, gamma)
    if kind == "group":
        return group_norm(b, x, gamma, beta, GROUPS)
    running = running or [leaf(b, f"running{len(b.nodes) + k}", x.shape[-1:]) for k in range(2)]
    return batch_norm(b, x, gamma, beta, *running)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("kind", SMALL)
def test_the_derivatives_of_a_norm_are_those_of_central_differences(kind, order):
    rng = np.random.default_rng(0)
    shape = SMALL[kind]
    arrays = [
        rng.standard_normal(shape) + 1,
        rng.standard_normal(shape[-1:]),
        rng.standard_normal(shape[-1:]),
    ]
    if kind == "rms":
        arrays.pop()
    check_gradient(lambda b, x, gamma, beta=None: norm(b, kind, x, gamma, beta), arrays, order)


def test_every_op_whose_inputs_depend_on_each_other_is_checked_here_or_is_the_rule_of_a_max_pool():
    used = {"max_pool2d_grad"}
    for kind, shape in SMALL.items():
        b = Builder()
        x, gamma, beta = leaf(b, "x", shape), leaf(b, "gamma", shape[-1:]), leaf(b, "beta", shape[-1:])
        y = norm(b, kind, x, gamma, beta)
        gradient(b, sum_to(b, multiply(b, y, y), ()), [x, gamma])
        used |= {node.op.name for node in b.nodes}
    assert {name for name, op in OPS.items() if op.reads_statistics} <= used


def theirs(torch, kind, x, gamma, beta, running):
    functional = torch.nn.functional
    if kind == "layer":
        return functional.layer_norm(x, x.shape[-1:], gamma, beta)
    if kind == "rms":
        return functional.rms_norm(x, x.shape[-1:], gamma, 1e-5)
    moved = x.movedim(-1, 1)
    if kind == "group":
        return functional.group_norm(moved, GROUPS, gamma, beta).movedim(1, -1)
    return functional.batch_norm(moved, *running, gamma, beta, True).movedim(1, -1)


@pytest.mark.oracle
@pytest.mark.parametrize("kind", LARGE)
def test_a_norm_is_that_of_pytorch_and_keeps_no_more(kind):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    shape = LARGE[kind]
    d = shape[-1:]
    values = {
        "x": 3 * rng.standard_normal(shape) + 2,
        **{name: rng.standard_normal(d) for name in ("gamma", "beta", "mean")},
        "var": rng.random(d),
        "c": rng.standard_normal(shape),
    }
    b = Builder()
    leaves = {name: b.apply(Leaf(Role.PARAMETER, v.shape, F8), name=name) for name, v in values.items()}
    y = norm(b, kind, *(leaves[name] for name in ("x", "gamma", "beta")), [leaves["mean"], leaves["var"]])
    wanted = ["x", "gamma"] if kind == "rms" else ["x", "gamma", "beta"]
    found = gradient(b, sum_to(b, multiply(b, y, leaves["c"]), ()), [leaves[name] for name in wanted])
    run = Run(make_schedule(b.graph(), [*found, *effects(b.nodes)]))
    run.load(values)
    ours = run.iterate()

    kept = []
    tensors = {name: torch.tensor(value, requires_grad=name in wanted) for name, value in values.items()}
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        value = theirs(
            torch, kind, *(tensors[n] for n in ("x", "gamma", "beta")), (tensors["mean"], tensors["var"])
        )
    expected = torch.autograd.grad((value * tensors["c"]).sum(), [tensors[name] for name in wanted])
    running = [tensors["mean"], tensors["var"]] if kind == "batch" else []
    for mine, other in zip(ours, [*expected, *running], strict=True):
        np.testing.assert_allclose(mine, other.numpy(), rtol=1e-9, atol=1e-11)
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in kept}
    own = {t.untyped_storage().data_ptr() for t in tensors.values()}
    saved = sum(size for pointer, size in storages.items() if pointer not in own)
    retained = sum(node.nbytes for node in analyse(run.schedule).most_retained)
    assert retained <= saved


def test_in_inference_the_running_statistics_stand_for_those_of_the_batch():
    rng = np.random.default_rng(2)
    b = Builder()
    names = ("x", "gamma", "beta", "mean", "var")
    values = {"x": rng.standard_normal((6, 4)), **{name: 0.5 + rng.random(4) for name in names[1:]}}
    leaves = [b.apply(Leaf(Role.PARAMETER, values[name].shape, F8), name=name) for name in names]
    y = batch_norm(b, *leaves, name="y")
    form, (output,) = inference_form(b, [y])
    assert not effects(form.nodes)
    run = Run(make_schedule(form.graph(), [output]))
    run.load({name: values[name] for name in names})
    expected = (
        values["gamma"] * (values["x"] - values["mean"]) / np.sqrt(values["var"] + 1e-5) + values["beta"]
    )
    np.testing.assert_allclose(run.iterate()[0], expected, rtol=1e-12)
    assert not any(
        node.op.name.startswith("channel_mean") for node in form.nodes if node.id <= output.id
    ) or ("channel_mean" not in {form.nodes[step.node].op.name for step in run.schedule.steps})


def test_a_graph_without_statistics_has_one_form():
    b = Builder()
    x, gamma, beta = leaf(b, "x", (3, 4)), leaf(b, "gamma", (4,)), leaf(b, "beta", (4,))
    y = layer_norm(b, x, gamma, beta)
    assert inference_form(b, [y]) == (b, (y,))


def exact_norm(kind, x):
    """The norm of x with γ = 1 and β = 0, in float64."""
    x = x.astype(np.float64)
    if kind == "rms":
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)
    values = x.reshape(*x.shape[:-1], GROUPS, -1) if kind == "group" else x
    axes = {"layer": -1, "batch": (0, 1, 2), "group": (1, 2, 4)}[kind]
    centred = values - values.mean(axes, keepdims=True)
    return (centred / np.sqrt((centred**2).mean(axes, keepdims=True) + 1e-5)).reshape(x.shape)


@pytest.mark.parametrize("mean", [0, 3, 1000])
@pytest.mark.parametrize("kind", LARGE)
def test_a_norm_of_values_with_a_large_mean_has_the_digits_that_float32_allows(kind, mean):
    shape = LARGE[kind]
    b = Builder()
    x, *of_channels = [
        leaf(b, name, size, "float32")
        for name, size in (("x", shape), *[(name, shape[-1:]) for name in ("gamma", "beta", "mean", "var")])
    ]
    y = norm(b, kind, x, *of_channels[:2], of_channels[2:])
    run = Run(make_schedule(b.graph(), [y]))
    values = {node.name: np.full(shape[-1], node.name == "gamma", np.float32) for node in of_channels}
    values["x"] = (np.random.default_rng(3).standard_normal(shape) + mean).astype(np.float32)
    used = {node.name for node in b.nodes if not node.inputs}
    run.load({name: value for name, value in values.items() if name in used})
    tolerance = 2e-6 * max(1, mean / 10)
    np.testing.assert_allclose(run.iterate()[0], exact_norm(kind, values["x"]), rtol=0, atol=tolerance)
