"""The network of the book, compared with PyTorch: retained values, gradients, curvature and optimisers."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from networks import KINDS, Arrays, Sized, build, draw, draw_batch, mlp
from torch_oracle import ACTIVATIONS, assert_close, objective, parameters_of, tensors_of, torch

from memtrain.graph.gradient import gradient
from memtrain.graph.node import Node, Role
from memtrain.graph.ops.arithmetic import add, multiply, sum_to
from memtrain.graph.ops.source import Leaf
from memtrain.models.network import Model
from memtrain.planning.liveness import analyse
from memtrain.planning.schedule import Schedule, make_schedule
from memtrain.run.allocation import ALLOCATIONS, PACKED, make_run
from memtrain.run.executor import Run
from memtrain.training.iteration import EAGER, UPDATES, training

pytestmark = [pytest.mark.oracle, pytest.mark.no_cover]

OUTPUT_SUFFICES = ("leaky_relu", "elu", "softplus")
"""Activations whose slope is a function of the output, although PyTorch computes it from the input."""
WIDTHS = (7, 4, 6, 6, 3)

SPECS = [
    mlp(9, 5, WIDTHS[:depth], 4, activation, bias, l2, "float64", loss)
    for activation, bias, depth, loss, l2 in product(
        ACTIVATIONS, (False, True), range(6), ("cross_entropy", "mean_squared_error"), (0.0, 1e-4)
    )
    if activation in KINDS or (depth == 2 and bias and l2)
]


def name_of(spec: Sized) -> str:
    bias = "-bias" if spec.bias else ""
    return f"{spec.activation}{bias}-{spec.depth}-{spec.loss}-{spec.l2:g}"


every_network = pytest.mark.parametrize("spec", SPECS, ids=name_of)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def compute(schedule: Schedule, values: Arrays) -> list[np.ndarray]:
    run = Run(schedule)
    run.load(values)
    return run.iterate()


def ask(model: Model, nodes: list[Node], values: Arrays) -> list[np.ndarray]:
    return compute(make_schedule(model.builder.graph(), nodes), values)


# -- retained values ---------------------------------------------------------------------------------


def saved_for_backward(spec: Sized, t: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """One tensor per storage that PyTorch saves for backward, without leaves and numbers."""
    saved: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(tensor)  # kept, so that no freed storage is allocated again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        objective(spec, t)
    given = {tensor.untyped_storage().data_ptr() for tensor in t.values()}
    distinct = {tensor.untyped_storage().data_ptr(): tensor.detach() for tensor in saved if tensor.ndim}
    return [tensor for place, tensor in distinct.items() if place not in given]


@every_network
def test_the_retained_set_is_what_pytorch_saves_or_less(spec):
    """PyTorch also keeps the inputs of activations in ``OUTPUT_SUFFICES``. There is no other difference."""
    values = draw(spec, 1)
    model = build(spec)
    retained = analyse(training(model, "sgd", 0.1)).retained
    saved = saved_for_backward(spec, tensors_of(values))
    inputs = [z for z in model.builder.nodes if z.label == "z"]
    more = inputs if spec.activation in OUTPUT_SUFFICES else []
    assert sorted((node.shape, node.nbytes) for node in [*retained, *more]) == sorted(
        (tuple(tensor.shape), tensor.untyped_storage().nbytes()) for tensor in saved
    )
    for found in ask(model, retained, values):
        same = [
            i
            for i, tensor in enumerate(saved)
            if tensor.shape == found.shape and np.allclose(found, tensor.numpy(), rtol=0, atol=1e-12)
        ]
        assert len(same) == 1
        saved.pop(same[0])
    assert len(saved) == len(more)


# -- gradients and curvature -------------------------------------------------------------------------


@every_network
def test_loss_and_gradients_equal_pytorchs(spec):
    values = draw(spec, 2)
    model = build(spec)
    names = [node.name for node in model.parameters]
    j, *slopes = ask(
        model, [model.objective, *gradient(model.builder, model.objective, model.parameters)], values
    )
    t = tensors_of(values)
    expected = objective(spec, t)
    assert_close(j, expected, 1e-10)
    for found, tensor in zip(slopes, torch.autograd.grad(expected, [t[name] for name in names]), strict=True):
        assert_close(found, tensor, 1e-10)


@every_network
def test_hessian_vector_products_equal_pytorchs_double_backward(spec):
    values = draw(spec, 3)
    model = build(spec)
    b, names = model.builder, [node.name for node in model.parameters]
    along = {f"v({name})": np.random.default_rng(4).standard_normal(values[name].shape) for name in names}
    slope = None
    for node, g in zip(model.parameters, gradient(b, model.objective, model.parameters), strict=True):
        v = b.apply(Leaf(Role.INPUT, node.shape, node.dtype), name=f"v({node.name})")
        term = sum_to(b, multiply(b, g, v), ())
        slope = term if slope is None else add(b, slope, term)
    products = ask(model, gradient(b, slope, model.parameters), values | along)

    t = tensors_of(values)
    parameters = [t[name] for name in names]
    slopes = torch.autograd.grad(objective(spec, t), parameters, create_graph=True)
    directional = sum((g * torch.tensor(v)).sum() for g, v in zip(slopes, along.values(), strict=True))
    expected = torch.autograd.grad(directional, parameters, materialize_grads=True)
    for found, tensor in zip(products, expected, strict=True):
        assert_close(found, tensor, 1e-9)


# -- optimisers --------------------------------------------------------------------------------------

OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    "momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.1),  # β 0.9 and 0.999, ε 1e-8
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec.depth == 2], ids=name_of)
def test_parameters_after_20_iterations_equal_pytorchs(optimizer, spec):
    values = draw(spec, 5)
    run = Run(training(build(spec), optimizer, 0.1))
    run.load(values)
    t = tensors_of(values)
    stepper = OPTIMIZERS[optimizer](parameters_of(t))
    rng = np.random.default_rng(6)
    for iteration in range(1, 21):
        batch = draw_batch(spec, rng)
        run.feed(batch | {"t": np.array(iteration)})
        (j, *_) = run.iterate()
        stepper.zero_grad()
        expected = objective(spec, t | {name: torch.tensor(value) for name, value in batch.items()})
        expected.backward()
        stepper.step()
        assert_close(j, expected, 1e-10)
    for name, tensor in t.items():
        if tensor.requires_grad:
            assert_close(run.value(name), tensor, 1e-10)


@pytest.mark.parametrize(
    ("activation", "allocation", "update"),
    [
        combination
        for combination in product(ACTIVATIONS, ALLOCATIONS, UPDATES)
        if combination[0] in KINDS or combination[1:] == (PACKED, EAGER)
    ],
)
def test_in_float32_losses_and_parameters_stay_within_a_hundred_thousandth_of_pytorchs(
    activation, allocation, update
):
    spec = mlp(128, 64, (256, 256, 256), 10, activation, bias=True)
    float32 = {name: v if v.dtype == np.int64 else v.astype("f4") for name, v in draw(spec, 8).items()}
    run = make_run(training(build(spec), "sgd", 0.01, update), allocation)
    run.load(float32)
    t = tensors_of(float32)
    stepper = torch.optim.SGD(parameters_of(t), lr=0.01)
    for _ in range(20):
        loss = float(run.iterate()[0])
        stepper.zero_grad()
        expected = objective(spec, t)
        expected.backward()
        stepper.step()
        assert loss == pytest.approx(expected.item(), rel=1e-5)
    for name, tensor in t.items():
        if tensor.requires_grad:
            theirs = tensor.detach().numpy()
            assert np.linalg.norm(run.value(name) - theirs) <= 1e-5 * np.linalg.norm(theirs), name


def test_a_wrong_rule_would_be_noticed():
    spec = SPECS[0].changed(depth=1, width=(7,), l2=1e-4)
    values = draw(spec, 7)
    model = build(spec)
    slopes = ask(model, gradient(model.builder, model.objective, model.parameters), values)
    t = tensors_of(values)
    unregularised = torch.autograd.grad(objective(spec.changed(l2=0.0), t), parameters_of(t))
    with pytest.raises(AssertionError):
        assert_close(slopes[0], unregularised[0], 1e-10)
