"""The published architectures as PyTorch users write them (torchvision), with a cross-entropy."""

from __future__ import annotations

import pytest
from architectures import CLASSES, RESNET_18, RESNET_50, VGG_16

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


def lenet() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.Sigmoid(), nn.AvgPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.Sigmoid(), nn.AvgPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.Sigmoid(), nn.Linear(120, 84), nn.Sigmoid(), nn.Linear(84, 10)),
    )


def vgg_16() -> nn.Module:
    layers: list[nn.Module] = []
    before = 3
    for channels, count in VGG_16:
        for _ in range(count):
            layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU(inplace=True)]
            before = channels
        layers.append(nn.MaxPool2d(2))
    layers += [nn.AdaptiveAvgPool2d(7), nn.Flatten()]
    for inputs in (512 * 7 * 7, 4096):
        layers += [nn.Linear(inputs, 4096), nn.ReLU(inplace=True), nn.Dropout()]
    return nn.Sequential(*layers, nn.Linear(4096, CLASSES))


class Residual(nn.Module):
    """relu(x + F(x)) for convolutions given as (outputs, kernel, stride), each with a batch norm."""

    def __init__(self, inputs: int, convolutions: list[tuple[int, int, int]]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = inputs
        for outputs, kernel, stride in convolutions:
            layers += [_conv(before, outputs, kernel, stride), nn.ReLU(inplace=True)]
            before = outputs
        self.body = nn.Sequential(*layers[:-1])
        stride = max(stride for _, _, stride in convolutions)
        self.shorter = nn.Identity() if inputs == before else _conv(inputs, before, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.body(x)
        found += self.shorter(x)
        return F.relu(found, inplace=True)


def _conv(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Module:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


def _resnet(counts: tuple[int, ...], bottleneck: bool) -> nn.Module:
    layers: list[nn.Module] = [_conv(3, 64, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    before = 64
    for stage, count in enumerate(counts):
        width = 64 * 2**stage
        for k in range(count):
            stride = 2 if stage and not k else 1
            convolutions = [(width, 3, stride), (width, 3, 1)]
            if bottleneck:
                convolutions = [(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)]
            layers.append(Residual(before, convolutions))
            before = convolutions[-1][0]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, CLASSES))


def resnet_18() -> nn.Module:
    return _resnet(RESNET_18, bottleneck=False)


def resnet_50() -> nn.Module:
    return _resnet(RESNET_50, bottleneck=True)


class Encoder(nn.Module):
    """A block of ViT-B/16."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        u = self.first(x)
        x = x + self.attention(u, u, u, need_weights=False)[0]
        return x + self.perceptron(self.second(x))


class ViT(nn.Module):
    """ViT-B/16 for images of 224²."""

    def __init__(self) -> None:
        super().__init__()
        width = 768
        self.patches = nn.Conv2d(3, width, 16, 16)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, 197, width) * 0.02)
        self.blocks = nn.Sequential(*(Encoder(width, 12) for _ in range(12)), nn.LayerNorm(width, 1e-6))
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        patches = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), patches], 1) + self.positions
        return self.head(self.blocks(x)[:, 0])


MODULES = {
    "LeNet": lenet,
    "VGG-16": vgg_16,
    "ResNet-18": resnet_18,
    "ResNet-50": resnet_50,
    "ViT-B/16": ViT,
}
