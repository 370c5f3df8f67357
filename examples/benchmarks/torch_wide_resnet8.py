"""The wide ResNet-8 and Muon in plain PyTorch: the other side of `sprint.py`.

Tensors have the names of rezoo's weights file. The formulas are those of `rezoo.training.muon` and
of "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", arXiv:2404.00498.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 3


class Block(nn.Module):
    """Two 3x3 convolutions with a max pooling after the first, a shortcut around the second."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the block makes of `(N, C, H, W)`."""
        x = functional.relu(self.bn1(functional.max_pool2d(self.conv1(x), 2)))
        return functional.relu(self.bn2(self.conv2(x)) + x)


class WideResNet8(nn.Module):
    """From `(N, 3, 32, 32)` to logits `(N, classes)`."""

    def __init__(self, classes: int = 10, widths: tuple[int, ...] = (64, 256, 256)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 24, 2, bias=False)
        inputs = 24
        for stage, width in enumerate(widths, start=1):
            setattr(self, f"layer{stage}", nn.Sequential(Block(inputs, width)))
            inputs = width
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        x = functional.relu(self.conv1(x))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


class Muon(torch.optim.Optimizer):
    """Orthogonalized momentum for kernels of convolutions, which keep their norm."""

    def __init__(self, kernels: list[nn.Parameter], lr: float, momentum: float) -> None:
        super().__init__(kernels, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:
        """Change the kernels."""
        for group in self.param_groups:
            for kernel in group["params"]:
                state = self.state[kernel]
                if not state:
                    state["buffer"] = torch.zeros_like(kernel)
                buffer = state["buffer"].mul_(group["momentum"]).add_(kernel.grad)
                ahead = kernel.grad.add(buffer, alpha=group["momentum"])
                update = orthogonalized(ahead.reshape(len(ahead), -1)).view_as(kernel)
                kernel.mul_(len(kernel) ** 0.5 / kernel.norm())
                kernel.add_(update, alpha=-group["lr"])


def orthogonalized(matrix: torch.Tensor) -> torch.Tensor:
    """Move the singular values of a matrix to about 1, in bfloat16."""
    first, second, third = QUINTIC
    x = matrix.bfloat16()
    x = x / (x.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = first * x + (second * gram + third * gram @ gram) @ x
    return (x.T if tall else x).to(matrix.dtype)
