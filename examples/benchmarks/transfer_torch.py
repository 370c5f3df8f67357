"""Fine-tuning as a PyTorch user does it, on rezoo's splits: what its transfer has to beat.

    python examples/benchmarks/transfer_torch.py WEIGHTS DATASET [--epochs 12] [--lr 0.01]

WEIGHTS is a folder with `model.safetensors` of a ResNet-50 (v1 with `--v1`) and its `config.json`;
DATASET a dataset reference of rezoo, whose train split trains and whose test split is measured
once, at the end. Pillow decodes, crops (35 to 100 % of the area, as rezoo's recipe), mirrors and
resizes; SGD with Nesterov momentum 0.9, one epoch of warm-up and a cosine, a new random head,
channels_last, batches of 32. `--lr 0.001 --plain` is PyTorch's own tutorial: no warm-up, a tenth
of the rate every 7 epochs. Needs torch, safetensors and Pillow.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import random
import resource
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch_resnet import ResNet

from rezoo.data.datasets import load_dataset
from rezoo.evaluation.scoring.intervals import wilson_interval

SIZE, RESIZED, BATCH = 224, 256, 32


class Photos(torch.utils.data.Dataset):
    """Images of a split, encoded in memory."""

    def __init__(self, examples: object, config: dict, *, train: bool) -> None:
        self.rows = [tuple(x.numpy() for x in examples.fetch(i)) for i in range(len(examples))]
        self.train = train
        self.mean, self.std = (np.array(config[key], np.float32) for key in ("mean", "std"))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        content, label = self.rows[index]
        image = Image.open(io.BytesIO(content)).convert("RGB")
        image = random_crop(image) if self.train else centre_crop(image)
        pixels = (np.asarray(image, np.float32) / 255 - self.mean) / self.std
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy()), int(label)


def random_crop(image: Image.Image) -> Image.Image:
    """Return a random-resized crop, mirrored half of the time."""
    width, height = image.size
    for _ in range(10):
        area = random.uniform(0.35, 1.0) * width * height
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            break
    else:
        w = h = min(width, height)
    left, top = random.randint(0, width - w), random.randint(0, height - h)
    box = (left, top, left + w, top + h)
    image = image.resize((SIZE, SIZE), Image.BILINEAR, box)
    return image.transpose(Image.FLIP_LEFT_RIGHT) if random.random() < 0.5 else image


def centre_crop(image: Image.Image) -> Image.Image:
    """Return what torchvision's Resize(256) and CenterCrop(224) make of an image."""
    width, height = image.size
    scale = RESIZED / min(width, height)
    image = image.resize((int(width * scale), int(height * scale)), Image.BILINEAR)
    left, top = round((image.width - SIZE) / 2), round((image.height - SIZE) / 2)
    return image.crop((left, top, left + SIZE, top + SIZE))


def network(folder: Path, classes: int, *, v1: bool) -> torch.nn.Module:
    """Return the network with the folder's weights and a new head."""
    tensors = load_file(folder / "model.safetensors")
    model = ResNet("resnet50", classes, v1=v1)
    fresh = {k: v for k, v in model.state_dict().items() if k.startswith("fc.")}
    model.load_state_dict({**tensors, **fresh, **_counters(model)})
    return model.to(memory_format=torch.channels_last)


def _counters(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return what weights files may leave out: how many batches a norm layer has seen."""
    return {k: v for k, v in model.state_dict().items() if k.endswith("num_batches_tracked")}


def rate_at(step: int, steps: int, per_epoch: int, *, plain: bool) -> float:
    """Return the part of the peak rate at a step."""
    if plain:
        return 0.1 ** (step // (7 * per_epoch))
    warm = min(step / per_epoch, 1.0)
    return warm * (1 + math.cos(math.pi * max(step - per_epoch, 0) / max(steps - per_epoch, 1))) / 2


def main() -> None:
    """Train, and measure the test split once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("dataset")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--v1", action="store_true")
    parser.add_argument("--bfloat16", action="store_true", help="autocast, as rezoo's auto")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    random.seed(args.seed)
    data = load_dataset(args.dataset)
    config = json.loads((args.weights / "config.json").read_text())["pretrained_cfg"]
    parts = {s: Photos(data.examples(s), config, train=s == "train") for s in ("train", "test")}
    model = network(args.weights, len(data.class_names), v1=args.v1)
    began = time.perf_counter()
    train(model, parts["train"], args)
    minutes = (time.perf_counter() - began) / 60
    right, count = evaluate(model, parts["test"])
    low, high = wilson_interval(right, count)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"test top-1 {right / count:.2%} ({low:.2%} to {high:.2%}, {count} images), "
        f"{minutes:.1f} minutes of training, peak memory {peak:.1f} GB"
    )


def train(model: torch.nn.Module, photos: Photos, args: argparse.Namespace) -> None:
    """Train all layers."""
    loader = torch.utils.data.DataLoader(photos, BATCH, shuffle=True, drop_last=True)
    optimizer = torch.optim.SGD(model.parameters(), args.lr, 0.9, nesterov=not args.plain)
    steps = args.epochs * len(loader)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: rate_at(step, steps, len(loader), plain=args.plain)
    )
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=0.0 if args.plain else 0.1)
    model.train()
    for epoch in range(args.epochs):
        total = 0.0
        for images, labels in loader:
            images = images.contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=args.bfloat16):
                logits = model(images)
            loss = loss_of(logits.float(), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            total += loss.item()
        print(f"epoch {epoch + 1}/{args.epochs}: loss {total / len(loader):.4f}", flush=True)


@torch.inference_mode()
def evaluate(model: torch.nn.Module, photos: Photos) -> tuple[int, int]:
    """Return how many answers are right, and of how many images."""
    model.eval()
    loader = torch.utils.data.DataLoader(photos, BATCH)
    right = sum(int((model(x).argmax(1) == y).sum()) for x, y in loader)
    return right, len(photos)


if __name__ == "__main__":
    main()
