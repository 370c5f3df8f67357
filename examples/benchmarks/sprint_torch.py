"""The recipe `sprint` in PyTorch: eager, channels last, bfloat16; used by `sprint.py`."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch_wide_resnet8 import Muon, WideResNet8  # beside this file

from rezoo.artifacts.weights import save_model
from rezoo.data.pipeline import test_batches
from rezoo.evaluation.averaging import averaged
from rezoo.tasks import SINGLE_LABEL
from rezoo.training.setup import Setup


def train(setup: Setup, threads: int) -> dict[str, float]:
    """Train the network of a setup on its batches, from its weights; return the figures."""
    torch.set_num_threads(threads)
    recipe, model = setup.recipe, network_of(setup)
    groups, optimizers = optimizers_of(model, recipe)
    input_of = normalization(setup)
    steps, done, began = recipe.epochs * setup.steps_per_epoch, 0, time.perf_counter()
    for images, labels in setup.train_batches(0, 0):
        left = 1 - done / steps
        for group in groups:
            group["lr"] = group["peak"] * left
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(input_of(images))
        wanted = torch.from_numpy(np.array(labels)).long()
        smoothing = recipe.label_smoothing
        loss = torch.nn.functional.cross_entropy(logits.float(), wanted, label_smoothing=smoothing)
        loss.backward()
        with torch.no_grad():
            model.fc.weight.mul_(1 - recipe.weight_decay * left)
        for optimizer in optimizers:
            optimizer.step()
        done += 1
        if done % setup.steps_per_epoch == 0:
            print(f"epoch {done // setup.steps_per_epoch}: {loss.item():.4f}", file=sys.stderr)
    train_s = time.perf_counter() - began
    top1, tta = scores(model.eval(), setup, input_of)
    images = done * recipe.batch_size
    return {"top1": top1, "top1_tta": tta, "train_s": train_s, "images": images}


def network_of(setup: Setup) -> WideResNet8:
    """Return the network with the setup's weights; its first convolution is not trained."""
    model = WideResNet8()
    with tempfile.TemporaryDirectory() as folder:
        save_model(setup.network, setup.config, Path(folder))
        model.load_state_dict(load_file(f"{folder}/model.safetensors"), strict=False)
    model.conv1.weight.requires_grad_(False)
    return model.to(memory_format=torch.channels_last).train()


def optimizers_of(model: WideResNet8, recipe: Any) -> tuple[list[dict[str, Any]], tuple[Any, Any]]:
    """Return the groups of parameters, with the peak of their learning rate, and optimizers."""
    trained = [p for p in model.parameters() if p.requires_grad]
    rate, rest = recipe.learning_rate, recipe.learning_rate * recipe.sgd_lr_scale
    kernels = Muon([p for p in trained if p.ndim == 4], rate, recipe.momentum)
    kernels.param_groups[0]["peak"] = rate
    head = {"params": [p for p in trained if p.ndim == 2], "peak": rest}
    vectors = [p for p in trained if p.ndim == 1]
    others = torch.optim.SGD(
        [head, {"params": vectors, "peak": rest * recipe.vector_lr_scale}],
        lr=rest,
        momentum=recipe.momentum,
        nesterov=True,
    )
    return [*kernels.param_groups, *others.param_groups], (kernels, others)


def normalization(setup: Setup) -> Callable[[Any], torch.Tensor]:
    """Return the function from grey levels `(N, H, W, C)` to the network's input."""
    preprocessing = setup.config.preprocessing
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (preprocessing.mean, preprocessing.std))

    def input_of(images: Any) -> torch.Tensor:
        levels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float()
        return ((levels / 255 - mean) / std).to(memory_format=torch.channels_last)

    return input_of


def scores(model: WideResNet8, setup: Setup, input_of: Callable[[Any], Any]) -> tuple[float, float]:
    """Return top-1 on the test split, without and with the mean over shifts and mirror images."""

    def forward(images: Any) -> np.ndarray:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            return model(input_of(images)).float().numpy()

    hits, count = [0, 0], 0
    sides = (forward, averaged(forward, SINGLE_LABEL, "shift"))
    examples = setup.data.examples("test")
    for images, labels in test_batches(examples, setup.config.preprocessing, batch_size=500):
        for place, logits_of in enumerate(sides):
            hits[place] += int((logits_of(np.array(images)).argmax(1) == np.array(labels)).sum())
        count += len(labels)
    return hits[0] / count, hits[1] / count
