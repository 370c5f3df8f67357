"""A ResNet in plain PyTorch, with the tensor names of torchvision, timm and rezoo.

The other side of the benchmarks: what a PyTorch user trains. "Deep Residual Learning for Image
Recognition", arXiv:1512.03385, table 1; the bottleneck takes its step in the 3x3 convolution, or
with `v1` in the first 1x1.
"""

from __future__ import annotations

import torch
from torch import nn

DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution without a bias, padded evenly."""
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class Block(nn.Module):
    """A residual block: two 3x3 convolutions, or 1x1, 3x3 and 1x1."""

    def __init__(self, inputs: int, width: int, stride: int, *, basic: bool, v1: bool) -> None:
        super().__init__()
        self.basic = basic
        outputs = width if basic else 4 * width
        first = stride if basic or v1 else 1
        self.conv1 = conv(inputs, width, 3 if basic else 1, first)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, 1 if basic or v1 else stride)
        self.bn2 = nn.BatchNorm2d(width)
        if not basic:
            self.conv3 = conv(width, outputs, 1)
            self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            shortcut = conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)
            self.downsample = nn.Sequential(*shortcut)
        nn.init.zeros_((self.bn2 if basic else self.bn3).weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the block makes of `(N, C, H, W)`."""
        identity = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if not self.basic:
            y = self.bn3(self.conv3(self.relu(y)))
        y += identity
        return self.relu(y)


class ResNet(nn.Module):
    """ResNet-18, 34 or 50 from `(N, 3, H, W)` to logits `(N, classes)`."""

    def __init__(self, name: str, classes: int = 1000, *, v1: bool = False) -> None:
        super().__init__()
        basic = name in ("resnet18", "resnet34")
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = 64
        for stage, depth in enumerate(DEPTHS[name]):
            width, blocks = 64 * 2**stage, []
            for index in range(depth):
                stride = 2 if stage and not index else 1
                blocks.append(Block(inputs, width, stride, basic=basic, v1=v1))
                inputs = width if basic else 4 * width
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the head receives, `(N, D)`."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        return x.mean((2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        return self.fc(self.features(x))
