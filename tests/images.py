"""Examples and plain formulas of the ops for images and of norms, which `examples` merges into its tables.

An input is a shape of any values, or a function of a generator that draws the values.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import numpy as np

from memtrain.graph.ops import norm_channels, norm_moments, norm_rows
from memtrain.graph.ops.conv import Conv2d, Conv2dInputGrad, Conv2dWeightGrad
from memtrain.graph.ops.norm_moments import AXES
from memtrain.graph.ops.pool_average import AvgPool2d, AvgPool2dGrad
from memtrain.graph.ops.pool_index import MaxPool2dIndex, WindowPick, WindowSpread
from memtrain.graph.ops.pool_max import MaxPool2d, MaxPool2dGrad
from memtrain.graph.ops.update import Track
from memtrain.graph.ops.window import Window

SAME = Window((3, 3), padding=(1, 1))
STRIDED = Window((3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2))
POINT = Window((1, 1))
HALF = Window((2, 2), stride=(2, 2))
OVERLAPPING = Window((3, 3), stride=(2, 1), padding=(1, 1))


def _images(s):
    """The shape of images with about as many values as the example has."""
    if s.n * s.q < 100:
        return (2, 5, 4, 4)
    channels = 4 * max(1, min(s.q, 64) // 4)
    pixels = max(16, s.n * s.q // channels)
    side = max(4, min(32, isqrt(pixels)))
    return (max(1, pixels // side**2), side, side, channels)


def _results(window, x, outputs=None):
    return (x[0], *window.positions(x[1], x[2]), outputs or x[3])


def _kernel(window, x, groups=1):
    return (4, *window.size, x[3] // groups)


def _variances(s):
    return lambda rng: (0.5 + rng.random((s.n, s.q))).astype(s.dtype)


def _of_conv(window, groups=1):
    """An example of each of the three ops of a convolution."""

    def forward(s):
        x = _images(s)
        return Conv2d(window, groups), x, _kernel(window, x, groups)

    def of_input(s):
        x = _images(s)
        kernel = _kernel(window, x, groups)
        return Conv2dInputGrad(window, groups, x), _results(window, x, 4), kernel

    def of_kernel(s):
        x = _images(s)
        kernel = _kernel(window, x, groups)
        return Conv2dWeightGrad(window, groups, kernel), _results(window, x, 4), x

    return forward, of_input, of_kernel


def _by_channel(window):
    """An example of each of the three ops of a convolution in which each channel has its own kernel."""

    def forward(s):
        x = _images(s)
        return Conv2d(window, x[3]), x, (x[3], *window.size, 1)

    def of_input(s):
        x = _images(s)
        return Conv2dInputGrad(window, x[3], x), _results(window, x), (x[3], *window.size, 1)

    def of_kernel(s):
        x = _images(s)
        return Conv2dWeightGrad(window, x[3], (x[3], *window.size, 1)), _results(window, x), x

    return forward, of_input, of_kernel


def _of_many_channels(window):
    """An example of each of the three ops of a convolution of many channels, except in the smallest size."""

    def shapes(s):
        channels = 4 if s.n * s.q < 100 else 128
        x, kernel = (2, 5, 4, channels), (channels + 2, *window.size, channels)
        return x, kernel, _results(window, x, channels + 2)

    def forward(s):
        x, kernel, _ = shapes(s)
        return Conv2d(window, 1), x, kernel

    def of_input(s):
        x, kernel, g = shapes(s)
        return Conv2dInputGrad(window, 1, x), g, kernel

    def of_kernel(s):
        x, kernel, g = shapes(s)
        return Conv2dWeightGrad(window, 1, kernel), g, x

    return forward, of_input, of_kernel


_CONVOLUTIONS = [
    _of_conv(SAME),
    _of_conv(STRIDED, 2),
    _of_conv(STRIDED),
    _of_conv(POINT),
    _of_conv(SAME, 4),
    _by_channel(SAME),
    _by_channel(STRIDED),
    _of_many_channels(STRIDED),
]


def _index(window, x):
    """Indices of places that lie inside of the images."""
    return lambda rng: plain_index(window, rng.standard_normal(x))


def _consistent(window):
    """An example of a max-pool with the index that belongs to its images."""

    def made(s):
        x = np.random.default_rng(7).standard_normal(_images(s)).astype(s.dtype)
        return MaxPool2d(window), lambda rng: x.copy(), lambda rng: plain_index(window, x)

    return made


def _pooling(op, *kinds):
    """Examples of a pool; each kind of input is x (images), y (results) or i (an index)."""

    def example(window):
        def made(s):
            x = _images(s)
            of_kind = {"x": x, "y": _results(window, x), "i": _index(window, x)}
            return op(window) if op is not AvgPool2dGrad and op is not WindowSpread else op(window, x), *[
                of_kind[kind] for kind in kinds
            ]

        return made

    return [example(HALF), example(OVERLAPPING)]


@dataclass(frozen=True)
class Means:
    """An input that is the mean of the first input over some axes."""

    axes: tuple[int, ...]

    def of(self, x):
        return x.mean(self.axes, np.float64, keepdims=True).astype(x.dtype)


def _rows(op, *kinds, centred=(True, False)):
    """Examples of a norm over rows; each kind of input is x, s (a statistic), d (a row) or m (the means)."""

    def example(centre, width=None):
        def made(s):
            q = width or s.q
            of_kind = {"x": (2, s.n, q), "s": (2, s.n, 1), "d": (q,), "b": (q,), "m": Means((2,))}
            shapes = [of_kind[kind] for kind in kinds if centre or kind not in "mb"]
            return op((2,), centre, q), *shapes

        return made

    return [*[example(centre) for centre in centred], example(True, width=1)]


def _channels(op, *kinds):
    """Examples of a norm over pixels; each kind of input is x or another one.

    These are s (a statistic), m (the means), d (the channels) and t (two sums).
    """

    def example(batch):
        def made(s):
            n, height, width, c = _images(s)
            x = (1, n * height * width, c, 1) if batch else (n, height * width, 2, c // 2)
            statistic = (x[0], 1, x[2], 1)
            of_kind = {"x": x, "s": statistic, "m": Means(AXES), "d": x[2:], "t": (2, x[0], 1, *x[2:])}
            return op(x[2:]), *[of_kind[kind] for kind in kinds]

        return made

    return [example(True), example(False)]


EXAMPLES = {
    "conv2d": [found[0] for found in _CONVOLUTIONS],
    "conv2d_input_grad": [found[1] for found in _CONVOLUTIONS],
    "conv2d_weight_grad": [found[2] for found in _CONVOLUTIONS],
    "max_pool2d": [*_pooling(MaxPool2d, "x"), _consistent(HALF)],
    "max_pool2d_grad": _pooling(MaxPool2dGrad, "y", "x"),
    "max_pool2d_index": _pooling(MaxPool2dIndex, "x"),
    "window_pick": _pooling(WindowPick, "x", "i"),
    "window_spread": _pooling(WindowSpread, "y", "i"),
    "avg_pool2d": _pooling(AvgPool2d, "x"),
    "avg_pool2d_grad": _pooling(AvgPool2dGrad, "y"),
    "row_mean": _rows(lambda axes, _, __: norm_rows.RowMean(axes), "x", centred=(True,)),
    "row_rstd": _rows(lambda axes, centre, _: norm_rows.RowRstd(axes, centre), "x", "m"),
    "row_norm": _rows(lambda axes, centre, _: norm_rows.RowNormalise(axes, centre), "x", "m", "s", "d", "b"),
    "row_norm_input_grad": _rows(
        lambda axes, centre, _: norm_rows.RowInputGrad(axes, centre), "x", "x", "m", "s", "d"
    ),
    "row_norm_gamma_grad": _rows(
        lambda axes, centre, _: norm_rows.RowGammaGrad(axes, centre), "x", "x", "m", "s"
    ),
    "channel_mean": _channels(lambda _: norm_moments.ChannelMean(AXES), "x"),
    "channel_variance": _channels(lambda _: norm_moments.ChannelVariance(AXES), "x", "m"),
    "inverse_root": [lambda s: (norm_moments.InverseRoot(1e-5), _variances(s))],
    "channel_norm": _channels(lambda _: norm_channels.ChannelNormalise(AXES), "x", "s", "s", "d", "d"),
    "channel_norm_input_grad": _channels(
        lambda _: norm_channels.ChannelInputGrad(AXES), "x", "x", "s", "s", "d", "t"
    ),
    "channel_norm_sums": _channels(lambda _: norm_channels.ChannelSums(AXES), "x", "x", "s"),
    "track": [lambda s: (Track(0.1, 1.25), (s.n, s.q), (s.n, s.q))],
}


def _windows(window, x, filler=0.0):
    """Every window of the images: (n, rows, columns, channels, *size)."""
    pad, far, stride = window.padding, window.dilation, window.stride
    padded = np.pad(x, ((0, 0), (pad[0],) * 2, (pad[1],) * 2, (0, 0)), constant_values=filler)
    seen = np.lib.stride_tricks.sliding_window_view(padded, window.reach, axis=(1, 2))
    return seen[:, :: stride[0], :: stride[1], :, :: far[0], :: far[1]]


def plain_conv(op, x, kernel):
    groups = op.groups
    parts = zip(np.split(x, groups, 3), np.split(kernel, groups), strict=True)
    return np.concatenate([np.einsum("nhwcij,oijc->nhwo", _windows(op.window, a), k) for a, k in parts], 3)


def _fold(window, shape, values):
    """Images of ``shape`` to which each value of each window is added."""
    n, height, width, c = shape
    pad, far, stride = window.padding, window.dilation, window.stride
    padded = np.zeros((n, height + 2 * pad[0], width + 2 * pad[1], c), values.dtype)
    rows, columns = values.shape[1:3]
    for i, j in np.ndindex(*window.size):
        target = padded[:, i * far[0] :: stride[0], j * far[1] :: stride[1]]
        target[:, :rows, :columns] += values[..., i, j]
    return padded[:, pad[0] : pad[0] + height, pad[1] : pad[1] + width]


def _conv_of_input(op, g, kernel):
    parts = zip(np.split(g, op.groups, 3), np.split(kernel, op.groups), strict=True)
    return np.concatenate(
        [
            _fold(op.window, (*op.shape[:3], op.shape[3] // op.groups), np.einsum("nhwo,oijc->nhwcij", a, k))
            for a, k in parts
        ],
        3,
    )


def _conv_of_kernel(op, g, x):
    parts = zip(np.split(g, op.groups, 3), np.split(x, op.groups, 3), strict=True)
    return np.concatenate([np.einsum("nhwo,nhwcij->oijc", a, _windows(op.window, b)) for a, b in parts])


def plain_index(window, x):
    seen = _windows(window, x, -np.inf)
    return seen.reshape(*seen.shape[:4], -1).argmax(-1).astype(np.min_scalar_type(window.place_count - 1))


def _pick(op, x, index):
    seen = _windows(op.window, x)
    return np.take_along_axis(seen.reshape(*seen.shape[:4], -1), index[..., None].astype(int), -1)[..., 0]


def _spread(window, shape, g, index):
    chosen = index[..., None] == np.arange(window.place_count)
    return _fold(window, shape, (g[..., None] * chosen).reshape(*g.shape, *window.size))


def _average_grad(op, g):
    shares = np.broadcast_to(g[..., None, None], (*g.shape, *op.window.size))
    return _fold(op.window, op.shape, shares / op.window.place_count)


def _normal(op, x, *statistics):
    *mean, r = statistics
    return (x - mean[0] if mean else x) * r


def _input_grad(op, g, x, *rest):
    *statistics, gamma = rest
    normal, scaled = _normal(op, x, *statistics), g * gamma

    def mean(value):
        return value.mean(op.axes, keepdims=True)

    shift = mean(scaled) if op.centred else 0
    return statistics[-1] * (scaled - shift - normal * mean(scaled * normal))


def _input_grad_of_sums(op, g, x, mean, r, gamma, sums):
    count = x.size // mean.size
    of_g, of_x = ((gamma * total).sum(3, keepdims=True) / count for total in sums)
    return r * (gamma * g - of_g - (x - mean) * r**2 * of_x)


def _gamma_grad(op, g, x, *statistics):
    return (g * _normal(op, x, *statistics)).sum((0, 1))


def _norm(op, x, *rest):
    count = 1 + op.centred
    statistics, (gamma, *beta) = rest[:count], rest[count:]
    return gamma * _normal(op, x, *statistics) + (beta[0] if beta else 0)


def _rstd(op, x, *mean):
    centred = x - mean[0] if mean else x
    return 1 / np.sqrt((centred**2).mean(op.axes, keepdims=True) + op.epsilon)


FORMULAS = {
    "conv2d": plain_conv,
    "conv2d_input_grad": _conv_of_input,
    "conv2d_weight_grad": _conv_of_kernel,
    "max_pool2d": lambda op, x, *_: _windows(op.window, x, -np.inf).max((-1, -2)),
    "max_pool2d_grad": lambda op, g, x: _spread(op.window, x.shape, g, plain_index(op.window, x)),
    "max_pool2d_index": lambda op, x: plain_index(op.window, x),
    "window_pick": _pick,
    "window_spread": lambda op, g, index: _spread(op.window, op.shape, g, index),
    "avg_pool2d": lambda op, x: _windows(op.window, x).mean((-1, -2)),
    "avg_pool2d_grad": _average_grad,
    "row_mean": lambda op, x: x.mean(-1, keepdims=True),
    "row_rstd": _rstd,
    "row_norm": _norm,
    "row_norm_input_grad": _input_grad,
    "row_norm_gamma_grad": _gamma_grad,
    "channel_mean": lambda op, x: x.mean(AXES, keepdims=True),
    "channel_variance": lambda op, x, mean: ((x - mean) ** 2).mean(AXES, keepdims=True),
    "inverse_root": lambda op, v: 1 / np.sqrt(v + op.epsilon),
    "channel_norm": _norm,
    "channel_norm_input_grad": _input_grad_of_sums,
    "channel_norm_sums": lambda op, g, x, mean: np.stack([g, g * (x - mean)]).sum(2, keepdims=True),
    "track": lambda op, v, s: (1 - op.momentum) * v + op.momentum * op.factor * s,
}
