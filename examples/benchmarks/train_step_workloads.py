"""What `train_step.py` times: a training step and inference, of rezoo, Keras and PyTorch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from turns import Actions  # beside this file

PEAK = "peak"
DECAY, MOMENTUM, RATE = 1e-4, 0.9, 0.001


def batch(size: int, count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 `(B, H, W, 3)` and int32 `(B,)`."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(count, size, size, 3)).astype(np.float32)
    return images, rng.integers(0, classes, count).astype(np.int32)


Workload = tuple[Actions, dict[str, float]]  # and counts of the network


def rezoo(arguments: argparse.Namespace, *, plain: bool = False) -> Workload:
    """Build the training step and the forward pass that `rezoo train` and `predict` use."""
    import keras

    from rezoo.evaluation.forward import compiled_forward
    from rezoo.models import layers
    from rezoo.models.factory import create_model
    from rezoo.models.profile import profile
    from rezoo.recipes.recipe import Recipe
    from rezoo.training.step import training_step

    if plain:
        for name in ("BatchNormalization", "Conv2D", "ReLU"):
            setattr(layers, name, getattr(keras.layers, name))
    size, classes = arguments.image_size, arguments.classes
    model = create_model(
        arguments.model,
        num_classes=classes,
        input_shape=(size, size, 3),
        precision=arguments.precision,
    )
    recipe = Recipe(
        name="benchmark",
        batch_size=arguments.batch,
        learning_rate=RATE,
        momentum=MOMENTUM,
        weight_decay=DECAY,
        precision=arguments.precision,
        schedule="constant",
        warmup_epochs=0,
    )
    step = training_step(model, recipe, steps_per_epoch=1000)
    part = tuple(keras.ops.convert_to_tensor(x) for x in batch(size, arguments.batch, classes))

    forward = compiled_forward(model)

    def train(count: int) -> None:
        for _ in range(count):
            outcome = step([part])
        outcome.read()

    def infer(count: int) -> None:
        for _ in range(count):
            forward(part[0])

    costs = profile(model, input_shape=(size, size, 3))
    return {"training": train, "inference": infer}, {"params": costs.params, "macs": costs.macs}


def keras_applications(arguments: argparse.Namespace) -> Workload:
    """Build a step of Keras: `compile`, `train_on_batch` and `predict_on_batch`."""
    import keras

    from rezoo.models.profile import profile

    size, classes = arguments.image_size, arguments.classes
    keras.config.set_dtype_policy(arguments.precision)
    model = keras.applications.ResNet50(
        weights=None, input_shape=(size, size, 3), classes=classes, classifier_activation=None
    )
    model.compile(
        keras.optimizers.SGD(RATE, MOMENTUM, weight_decay=DECAY),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    images, labels = map(keras.ops.convert_to_tensor, batch(size, arguments.batch, classes))

    def train(count: int) -> None:
        for _ in range(count):
            model.train_on_batch(images, labels)

    def infer(count: int) -> None:
        for _ in range(count):
            model.predict_on_batch(images)

    costs = profile(model, input_shape=(size, size, 3))
    return {"training": train, "inference": infer}, {"params": costs.params, "macs": costs.macs}


def torch_network(name: str, classes: int) -> Any:
    """Return a network in PyTorch: of the files beside this one, else timm's."""
    from torch_resnet import DEPTHS, ResNet
    from torch_wide_resnet8 import WideResNet8

    if name == "wide_resnet8":
        return WideResNet8(classes)
    if name in DEPTHS:
        return ResNet(name, classes)
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
    from peers import timm_network

    return timm_network(name, num_classes=classes)


def pytorch(arguments: argparse.Namespace, *, compiled: bool = False) -> Workload:
    """Build the same network and step in PyTorch, by its performance guide."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(arguments.threads)
    torch.backends.cudnn.benchmark = True
    model = torch_network(arguments.model, arguments.classes)
    model = model.to(device, memory_format=torch.channels_last)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    spared = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": DECAY}, {"params": spared, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=RATE, momentum=MOMENTUM)
    images, labels = batch(arguments.image_size, arguments.batch, arguments.classes)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).to(device, memory_format=torch.channels_last)
    y = torch.from_numpy(labels).long().to(device)
    network = torch.compile(model) if compiled else model
    mixed = arguments.precision == "mixed_bfloat16"

    def train(count: int) -> None:
        model.train()
        for _ in range(count):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device, torch.bfloat16, enabled=mixed):
                logits = network(x)
            loss = torch.nn.functional.cross_entropy(logits.float(), y)
            loss.backward()
            optimizer.step()
        loss.item()

    def infer(count: int) -> None:
        model.eval()
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=mixed):
            for _ in range(count):
                network(x).float().cpu()

    params = sum(p.numel() for p in model.parameters())
    return {"training": train, "inference": infer}, {"params": params}


def peak(arguments: argparse.Namespace) -> Workload:
    """Multiply large matrices."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(arguments.threads)
    side = 8192 if device == "cuda" else 2048
    kind = torch.bfloat16 if arguments.precision == "mixed_bfloat16" else torch.float32
    one, other = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    out = torch.empty_like(one)

    def multiply(count: int) -> None:
        for _ in range(count):
            torch.mm(one, other, out=out)
        out[0, 0].item()

    return {PEAK: multiply}, {"macs": side**3}


BUILDERS: dict[str, Callable[[argparse.Namespace], Workload]] = {
    "torch": pytorch,
    "torch-compile": lambda a: pytorch(a, compiled=True),
    "keras": keras_applications,
    "rezoo-keras-layers": lambda a: rezoo(a, plain=True),
    "rezoo": rezoo,
    PEAK: peak,
}
