"""Published architectures as torchvision has them, built from `Layers`.

An adaptive average pool to 7×7 is left out, because images of 224² have 7×7 pixels there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from memtrain.graph.builder import Builder
from memtrain.graph.node import Node, Role
from memtrain.graph.ops.arithmetic import BroadcastTo, add
from memtrain.graph.ops.attention_blocks import attention_in_blocks
from memtrain.graph.ops.concat import concat
from memtrain.graph.ops.dropout import dropout
from memtrain.graph.ops.pool_average import global_avg_pool2d
from memtrain.graph.ops.pool_max import max_pool2d
from memtrain.graph.ops.source import Leaf
from memtrain.graph.ops.view import Slice, reshape
from memtrain.graph.size import BATCH, Dim, product
from memtrain.models.declared import BATCH_NORM, LAYER_NORM, Layers
from memtrain.models.layers import cross_entropy
from memtrain.models.lenet import LeNet
from memtrain.models.network import Model
from memtrain.models.resnet import basic_block

F4, I8, U8 = map(np.dtype, (np.float32, np.int64, np.uint64))
CLASSES = 1000
VGG_16 = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
RESNET_18, RESNET_50 = (2, 2, 2, 2), (3, 4, 6, 3)


def vgg_16(layers, x):
    """Simonyan & Zisserman 2015, configuration D. At 224² its last pool has 7×7 pixels."""
    for number, (channels, count) in enumerate(VGG_16, start=1):
        with layers.b.block("stage", number):
            for k in range(1, count + 1):
                x = layers.conv(x, channels, 3, "z", suffix=str(k))
                x = layers.activate("relu", x, f"h{k}.")
            x = max_pool2d(layers.b, x, 2)
    x = reshape(layers.b, x, (x.shape[0], product(x.shape[1:])))
    for number in (1, 2):
        with layers.b.block("linear", number):
            x = layers.activate("relu", layers.linear(x, 4096, "z"), "h")
            x = dropout(layers.b, x, layers.key, 0.5, layers.next_mask())
    return layers.linear(x, CLASSES, "o")


def resnet(layers, x, counts, block, widening):
    """He et al. 2016, table 1: a stem, four stages of blocks, and a mean over pixels."""
    x = layers.norm(BATCH_NORM, layers.conv(x, 64, 7, "z", stride=2), "u")
    x = max_pool2d(layers.b, layers.activate("relu", x, "h"), 3, stride=2, padding=1)
    for stage, count in enumerate(counts, start=1):
        for k in range(1, count + 1):
            with layers.b.block("stage", stage), layers.b.block("block", k):
                stride = 2 if stage > 1 and k == 1 else 1
                x = block(layers, x, widening * 32 * 2**stage, stride)
    return layers.linear(global_avg_pool2d(layers.b, x), CLASSES, "o", bias=True)


def resnet_18(layers, x):
    """Residual network of basic blocks."""
    return resnet(
        layers, x, RESNET_18, lambda *given: basic_block(*given, norm=BATCH_NORM, activation="relu"), 1
    )


def resnet_50(layers, x):
    """Residual network of bottlenecks."""
    return resnet(layers, x, RESNET_50, bottleneck, 4)


def bottleneck(layers, x, channels, stride):
    """A bottleneck of 1×1, 3×3 and 1×1, with its stride at the 3×3."""
    f = x
    for number, (outputs, kernel, step) in enumerate(
        [(channels // 4, 1, 1), (channels // 4, 3, stride), (channels, 1, 1)], start=1
    ):
        z = layers.conv(f, outputs, kernel, "z", suffix=str(number), stride=step)
        f = layers.norm(BATCH_NORM, z, "u", suffix=str(number))
        if number < 3:
            f = layers.activate("relu", f, f"h{number}.")
    if stride != 1 or x.shape[3] != channels:
        x = layers.norm(
            BATCH_NORM, layers.conv(x, channels, 1, "w", suffix="4", stride=stride), "s", suffix="4"
        )
    return layers.activate("relu", layers.add(f, x, "r"), "y")


def vit_b_16(layers, x):
    """Dosovitskiy et al. 2021, ViT-Base with patches of 16×16: a class token before the 196 patches."""
    b, m, heads = layers.b, 768, 12
    patches = layers.conv(x, m, 16, "z", suffix="0", stride=16, padding=0)
    n, count = x.shape[0], patches.shape[1] * patches.shape[2]
    patches = reshape(b, patches, (n, count, m))
    token, positions = layers.parameter("class", (1, 1, m)), layers.parameter("P", (1, count + 1, m), 0.02)
    tokens = concat(b, [b.apply(BroadcastTo((n, 1, m)), token), patches], 1)
    h = reshape(b, add(b, tokens, positions), (product((n, count + 1)), m), "h")
    for number in range(1, 13):
        with b.block("block", number):
            u = layers.norm(LAYER_NORM, h, "u", suffix="1")
            q, k, v = (
                reshape(b, layers.linear(u, m, label, suffix=label), (n, count + 1, heads, m // heads))
                for label in "qkv"
            )
            c = reshape(b, attention_in_blocks(b, q, k, v), h.shape)
            h = layers.add(h, layers.linear(c, m, "a", suffix="a"), "r")
            u = layers.norm(LAYER_NORM, h, "w", suffix="2")
            z = layers.activate("gelu", layers.linear(u, 4 * m, "z", suffix="1"), "g")
            h = layers.add(h, layers.linear(z, m, "f", suffix="2"), "y")
    whole = reshape(b, layers.norm(LAYER_NORM, h, "u"), (n, count + 1, m))
    first = reshape(b, b.apply(Slice((0, 0, 0), (n, 1, m)), whole), (n, m))
    return layers.linear(first, CLASSES, "o")


def of_images(append: Callable[[Layers, Node], Node], bias: bool, side: int = 224) -> Callable[[int], Model]:
    """A function that builds the model for a batch of images of ``side``² pixels with 3 channels."""

    def build(batch: int) -> Model:
        b, n = Builder(), Dim(batch, BATCH)
        x = b.apply(Leaf(Role.INPUT, (n, side, side, 3), F4), name="x")
        y = b.apply(Leaf(Role.INPUT, (n,), I8), name="y")
        key = b.apply(Leaf(Role.INPUT, (2,), U8), name="key")
        layers = Layers(b, F4, bias, key)
        output = append(layers, x)
        loss = cross_entropy(b, output, y)
        frozen = frozenset(layers.frozen)
        return Model(b, (x, y, key), tuple(layers.parameters), (output,), loss, loss, frozen)

    return build


class Published(NamedTuple):
    """An architecture with its cross-entropy, and what is known of it."""

    name: str
    build: Callable[[int], Model]
    """The model for a batch."""
    batch: int
    parameters: int
    pytorch_bytes: int
    """What PyTorch 2.13 saves for backward on a CPU, besides parameters and the batch."""
    more: dict[str, int]
    """The parts of ``pytorch_bytes`` that memtrain does not keep, with the reason for each."""


NUMBER = {"the sum of the weights of the labels, a number": 4}
INDEX = "int64 indices of max-pools: backward compares the image with the maxima"
PUBLISHED = (
    Published("LeNet", LeNet().build, 256, 61_706, 8_288_260, NUMBER),
    Published(
        *("VGG-16", of_images(vgg_16, True), 4, 138_357_544, 291_028_612),
        {
            INDEX: 8 * 4 * (64 * 112**2 + 128 * 56**2 + 256 * 28**2 + 512 * 14**2 + 512 * 7**2),
            "masks of dropouts in float32 instead of bytes": 3 * 4 * 2 * 4096,
            "a copy of the pixels by an adaptive average pool to their own size": 4 * 4 * 512 * 7**2,
            **NUMBER,
        },
    ),
    Published(
        *("ResNet-18", of_images(resnet_18, False), 8, 11_689_512, 172_692_228),
        {INDEX: 8 * 8 * 64 * 56**2, **NUMBER},
    ),
    Published(
        *("ResNet-50", of_images(resnet_50, False), 4, 25_557_032, 341_458_052),
        {INDEX: 8 * 4 * 64 * 56**2, **NUMBER},
    ),
    Published(
        *("ViT-B/16", of_images(vit_b_16, True), 2, 86_567_656, 235_125_140),
        {"all 197 tokens in place of the first, which the last layer reads": 4 * 2 * 196 * 768, **NUMBER},
    ),
)
