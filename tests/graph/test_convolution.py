"""Convolutions and pools against PyTorch, also when the images are worked on in many small blocks."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from examples import compute

from memtrain.errors import GraphError
from memtrain.graph.builder import Builder
from memtrain.graph.gradient import gradient
from memtrain.graph.node import Phase, Role
from memtrain.graph.ops import conv_depthwise, conv_places, conv_spread
from memtrain.graph.ops import window as windows
from memtrain.graph.ops.activation import Relu
from memtrain.graph.ops.arithmetic import Multiply, sum_to
from memtrain.graph.ops.conv import Conv2d, Conv2dInputGrad, Conv2dWeightGrad, conv2d
from memtrain.graph.ops.conv_depthwise import Depthwise
from memtrain.graph.ops.conv_places import ByPlace
from memtrain.graph.ops.conv_spread import Spread
from memtrain.graph.ops.conv_unfolded import Unfolded
from memtrain.graph.ops.conv_way import OneProduct
from memtrain.graph.ops.pool_average import AvgPool2d, AvgPool2dGrad
from memtrain.graph.ops.pool_index import MaxPool2dIndex, WindowPick, WindowSpread
from memtrain.graph.ops.pool_max import MaxPool2d, MaxPool2dGrad, max_pool2d
from memtrain.graph.ops.source import Leaf
from memtrain.graph.ops.window import Window
from memtrain.planning.liveness import analyse
from memtrain.planning.schedule import make_schedule

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

BLOCKS = {"one block": 2**18, "some rows": 300, "one row": 1}


def channels_first(x):
    return torch.tensor(np.ascontiguousarray(np.moveaxis(x, 3, 1)), requires_grad=True)


def assert_same(ours, theirs):
    np.testing.assert_allclose(ours, np.moveaxis(theirs.detach().numpy(), 1, 3), rtol=1e-10, atol=1e-10)


@pytest.fixture(params=BLOCKS)
def blocks(request, monkeypatch):
    monkeypatch.setattr(windows, "UNFOLDED", BLOCKS[request.param])


def all_columns(window, width, across, outputs, inputs):
    return across


def half_of_the_columns(window, width, across, outputs, inputs):
    return across // 2 if across % 2 == 0 else 1


WAYS = {
    "unfolded": [],
    "by place": [(conv_places, "_LEAST_CHANNELS", 1)],
    "by channel": [(conv_depthwise, "_LEAST_CHANNELS", 1)],
    "groups alone": [(conv_spread, "_LEAST_CHANNELS", 1)],
    "two halves of the columns": [(conv_spread, "_best_columns", half_of_the_columns)],
    "all columns at once": [(conv_spread, "_best_columns", all_columns)],
}


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    for module, name, value in WAYS[request.param]:
        monkeypatch.setattr(module, name, value)


@pytest.mark.parametrize(("groups", "outputs"), [(1, 8), (2, 8), (4, 8), (4, 4)])
@pytest.mark.parametrize("size", [(1, 1), (3, 3), (2, 5)])
def test_a_convolution_and_its_gradients_are_those_of_pytorch(blocks, way, size, groups, outputs):
    rng = np.random.default_rng(0)
    for stride, padding, dilation in product([(1, 1), (2, 3)], [(0, 0), (2, 1), (4, 0)], [(1, 1), (2, 1)]):
        window = Window(size, stride, padding, dilation)
        x, kernel = rng.standard_normal((3, 9, 8, 4)), rng.standard_normal((outputs, *size, 4 // groups))
        images, weights = channels_first(x), channels_first(kernel)
        expected = torch.nn.functional.conv2d(images, weights, None, stride, padding, dilation, groups)
        found = compute(Conv2d(window, groups), [x, kernel])
        assert_same(found, expected)
        g = rng.standard_normal(found.shape)
        expected.backward(channels_first(g).detach())
        assert_same(compute(Conv2dInputGrad(window, groups, x.shape), [g, kernel]), images.grad)
        assert_same(compute(Conv2dWeightGrad(window, groups, kernel.shape), [g, x]), weights.grad)


@pytest.mark.parametrize(
    ("channels", "groups", "way"),
    [
        (3, 1, Unfolded),
        (64, 1, Unfolded),
        (128, 1, ByPlace),
        (64, 64, Depthwise),
        (8, 8, Unfolded),
        (64, 16, Unfolded),
    ],
)
def test_the_way_to_compute_depends_on_channels_and_groups(channels, groups, way):
    op = Conv2d(Window((3, 3)), groups)
    assert type(op.way((4, 8, 8, channels), (channels, 3, 3, channels // groups))) is way
    assert type(Conv2d(Window((1, 1)), 1).way((4, 8, 8, channels), (8, 1, 1, channels))) is OneProduct


def test_columns_share_a_product_only_if_there_are_few_channels():
    def columns(outputs, inputs):
        return Spread.of(Window((5, 5), padding=(2, 2)), 1, (256, 28, 28, inputs), outputs, inputs).columns

    assert columns(6, 1) > 1
    assert columns(64, 64) == 1


@pytest.mark.parametrize("size", [(2, 2), (3, 2)])
def test_pools_and_their_gradients_are_those_of_pytorch_also_for_equal_values(blocks, size):
    rng = np.random.default_rng(0)
    for stride, padding in product([(2, 2), (1, 1), (3, 2)], [(0, 0), (1, 1)]):
        window = Window(size, stride, padding)
        x = rng.integers(0, 5, (3, 9, 8, 4)).astype(float)
        largest = compute(MaxPool2d(window), [x])
        index = compute(MaxPool2dIndex(window), [x])
        np.testing.assert_array_equal(compute(WindowPick(window), [x, index]), largest)
        g = rng.standard_normal(largest.shape)
        images = channels_first(x)
        torch.nn.functional.max_pool2d(images, size, stride, padding).backward(channels_first(g).detach())
        assert_same(compute(MaxPool2dGrad(window), [g, x]), images.grad)
        assert_same(compute(WindowSpread(window, x.shape), [g, index]), images.grad)
        images.grad = None
        mean = torch.nn.functional.avg_pool2d(images, size, stride, padding)
        assert_same(compute(AvgPool2d(window), [x]), mean)
        mean.backward(channels_first(g).detach())
        assert_same(compute(AvgPool2dGrad(window, x.shape), [g]), images.grad)


@pytest.mark.parametrize("values", [[-np.inf], [-np.inf, np.nan], [-np.inf, np.nan, 1.0, np.inf]])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2)])
def test_a_max_pool_of_infinite_values_and_nan_is_that_of_pytorch(values, stride):
    window = Window((3, 2), stride, (1, 1))
    rng = np.random.default_rng(0)
    x = rng.choice(values, (2, 6, 5, 3))
    images = channels_first(x)
    expected = torch.nn.functional.max_pool2d(images, window.size, stride, window.padding)
    largest, index = compute(MaxPool2d(window), [x]), compute(MaxPool2dIndex(window), [x])
    assert_same(largest, expected)
    np.testing.assert_array_equal(compute(WindowPick(window), [x, index]), largest)
    g = rng.standard_normal(largest.shape)
    expected.backward(channels_first(g).detach())
    assert_same(compute(MaxPool2dGrad(window), [g, x]), images.grad)
    assert_same(compute(WindowSpread(window, x.shape), [g, index]), images.grad)


def test_infinite_gradients_stay_at_the_index():
    window = Window((2, 2), (2, 2))
    x = np.arange(16.0).reshape(1, 4, 4, 1)
    g = np.array([np.inf, np.nan, 1.0, -np.inf]).reshape(1, 2, 2, 1)
    found = compute(MaxPool2dGrad(window), [g, x])
    np.testing.assert_array_equal(found[0, 1::2, 1::2, 0], g[0, ..., 0])
    assert np.count_nonzero(found) == 4


def test_nan_is_the_largest_value_of_its_window_as_in_pytorch():
    x = np.array([1.0, np.nan, 3.0, 2.0, 0.0, 5.0, 4.0, np.nan]).reshape(1, 2, 4, 1)
    index = compute(MaxPool2dIndex(Window((2, 2), (2, 2))), [x])
    assert index.ravel().tolist() == [1, 3]
    assert np.isnan(compute(WindowPick(Window((2, 2), (2, 2))), [x, index])).all()


def retained(build):
    """The names and bytes of the forward values that backward reads, for a value that ``build`` appends."""
    b = Builder()
    x = b.apply(Leaf(Role.INPUT, (4, 8, 8, 3), np.dtype(np.float32)), name="x")
    w = b.apply(Leaf(Role.PARAMETER, (5, 3, 3, 3), np.dtype(np.float32)), name="w")
    y = build(b, conv2d(b, x, w, padding=1, name="z"))
    (found,) = gradient(b, sum_to(b, b.apply(Multiply(), y, y), ()), [w])
    live = analyse(make_schedule(b.graph(), [found]))
    return {node.name: node.nbytes for node in live.most_retained}


def test_a_max_pool_keeps_one_byte_for_each_result_or_compares_where_its_input_is_kept_anyway():
    assert retained(lambda b, z: max_pool2d(b, z, 2, name="p")) == {
        "p.index": 4 * 4 * 4 * 5,
        "p": 4 * 4 * 4 * 5 * 4,
    }
    kept = retained(lambda b, z: max_pool2d(b, b.apply(Relu(), z, name="h"), 2, name="p"))
    assert kept == {"h": 4 * 8 * 8 * 5 * 4, "p": 4 * 4 * 4 * 5 * 4}


def test_windows_that_do_not_fit_are_refused():
    b = Builder()
    x = b.apply(Leaf(Role.INPUT, (2, 5, 5, 3), np.dtype(np.float32)), name="x")
    w = b.apply(Leaf(Role.PARAMETER, (4, 7, 7, 3), np.dtype(np.float32)), name="w")
    with pytest.raises(GraphError, match=r"conv2d: a window of \(7, 7\) .* does not fit x"):
        conv2d(b, x, w)
    with pytest.raises(GraphError, match="conv2d with 3 groups does not fit x"):
        conv2d(b, x, w, padding=3, groups=3)
    with pytest.raises(GraphError, match="at most half the window"):
        max_pool2d(b, x, 2, padding=2)
    for size in (1, 3):  # some windows would have no pixel
        with pytest.raises(GraphError, match="at most half the window"):
            max_pool2d(b, x, size, padding=(size + 1) // 2)
    assert {node.phase for node in b.nodes} == {Phase.FORWARD}
