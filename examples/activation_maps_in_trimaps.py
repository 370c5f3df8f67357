"""Measure how much of an activation map lies on the animal, in photographs of pets.

    python examples/activation_maps_in_trimaps.py RUN PETS

RUN is a network for the breeds of the Oxford-IIIT pets; PETS is the folder of the data, with
`images/` and `annotations/`, of which the test list and the trimaps are read. A trimap marks the
animal (1), the background (2) and the border between them (3), which counts half.

The map of the most likely breed of each photograph is enlarged to the crop that the network sees.
Its energy is the sum of its positive values. The share of the energy on the animal is compared
with that of Gaussians in the middle of the same crop: photographs of pets have the animal there.
The first Gaussian is as wide as the maps are on average. The mean over the photographs has a 95 %
bootstrap interval.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from scipy.stats import bootstrap

import rezoo
from rezoo.evaluation.explaining.activation_maps import activation_map, enlarged

ANIMAL, BORDER = 1, 3
WIDTHS = (1 / 8, 1 / 4, 1 / 2)  # standard deviations of the other Gaussians, as a part of the side


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="a run folder, or another reference with weights")
    parser.add_argument("pets", type=Path, help="has images/ and annotations/")
    parser.add_argument("--count", type=int, help="only the first COUNT photographs")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    args = parser.parse_args()
    names = photographs(args.pets)[: args.count]
    if len(names) < 2:
        sys.exit(f"{args.pets}: {len(names)} photographs of the test list have a trimap")
    found = activation_map(args.run, [image_file(args.pets, name) for name in names])
    side = found.pixels.shape[1:3]
    # a mask goes through the transform of the images: resized and cropped, then normalized
    masks = rezoo.preprocess(args.run, [mask(args.pets, name) for name in names])[..., 0]
    low, high = masks_of_extremes(args.run, side)
    animals = (masks - low) / (high - low)
    energy = np.stack([np.clip(enlarged(one, side), 0, None) for one in found.maps])
    shares = share(energy, animals)
    spread = np.mean([deviation(one) for one in energy]) / side[0]
    document = {
        "photographs": len(names),
        "breed_right": float(
            np.mean([right(*pair) for pair in zip(found.labels, names, strict=True)])
        ),
        "animal_part_of_crop": float(animals.mean()),
        "maps": interval(shares),
        "largest_value_on_animal": interval(at_largest(energy, animals)),
        "gaussians": [],
    }
    for width in (spread, *WIDTHS):
        others = share(gaussian(side, width)[None], animals)
        document["gaussians"].append(
            {"deviation": float(width), **interval(others), "difference": interval(shares - others)}
        )
    print(json.dumps(document, indent=2)) if args.json else show(document)
    return 0


def photographs(pets: Path) -> list[str]:
    """Return the names in the test list with an image and a trimap of the same size."""
    lines = (pets / "annotations" / "test.txt").read_text().splitlines()
    names = [line.split()[0] for line in lines if line and not line.startswith("#")]
    return [name for name in names if trimap_file(pets, name).is_file() and same_size(pets, name)]


def image_file(pets: Path, name: str) -> Path:
    """Return the path of a photograph."""
    return pets / "images" / f"{name}.jpg"


def trimap_file(pets: Path, name: str) -> Path:
    """Return the path of a trimap."""
    return pets / "annotations" / "trimaps" / f"{name}.png"


def same_size(pets: Path, name: str) -> bool:
    """Whether a photograph, turned upright, has the size of its trimap."""
    with Image.open(image_file(pets, name)) as image, Image.open(trimap_file(pets, name)) as trimap:
        return ImageOps.exif_transpose(image).size == trimap.size


def mask(pets: Path, name: str) -> np.ndarray:
    """Return the animal, uint8 `(H, W)`: 255 on it, 128 on its border, 0 on the background."""
    with Image.open(trimap_file(pets, name)) as image:
        trimap = np.asarray(image)
    return np.select([trimap == ANIMAL, trimap == BORDER], [255, 128], 0).astype(np.uint8)


def masks_of_extremes(run: str, side: tuple[int, int]) -> tuple[float, float]:
    """Return the inputs that a black and a white pixel become, in the first channel."""
    black, white = (np.full(side, level, np.uint8) for level in (0, 255))
    values = rezoo.preprocess(run, [black, white])[:, 0, 0, 0]
    return float(values[0]), float(values[1])


def right(label: str, name: str) -> bool:
    """Whether a breed is that of a photograph, which its file name begins with."""
    return label == name.rpartition("_")[0]


def share(energy: np.ndarray, animals: np.ndarray) -> np.ndarray:
    """Return the part of the energy on the animal, for each photograph."""
    return (energy * animals).sum((1, 2)) / np.maximum(energy.sum((1, 2)), 1e-12)


def at_largest(energy: np.ndarray, animals: np.ndarray) -> np.ndarray:
    """Return whether the position of the largest value is on the animal, half on the border."""
    places = energy.reshape(len(energy), -1).argmax(axis=1)
    return animals.reshape(len(animals), -1)[np.arange(len(places)), places]


def deviation(energy: np.ndarray) -> float:
    """Return the standard deviation of an energy around its centre along one axis, in pixels."""
    part = energy / max(energy.sum(), 1e-12)
    axes = np.indices(energy.shape)
    return float(np.sqrt(sum((part * (a - (part * a).sum()) ** 2).sum() for a in axes) / 2))


def gaussian(side: tuple[int, int], width: float) -> np.ndarray:
    """Return a Gaussian in the middle of a crop; `width` is a part of its height."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in side)
    return np.exp(-(y[:, None] ** 2 + x[None] ** 2) / 2 / (width * side[0]) ** 2)


def interval(values: np.ndarray) -> dict[str, float]:
    """Return the mean over the photographs and its 95 % interval (BCa, 9,999 resamples)."""
    low, high = bootstrap((values,), np.mean, rng=0, batch=100).confidence_interval
    return {"mean": float(values.mean()), "low": float(low), "high": float(high)}


def show(document: dict) -> None:
    """Print the document as text."""

    def text(part: dict[str, float], sign: str = "") -> str:
        mean, low, high = (100 * part[key] for key in ("mean", "low", "high"))
        return f"{mean:{sign}.1f} % ({low:{sign}.1f} to {high:{sign}.1f})"

    print(f"{document['photographs']} photographs; breed right {document['breed_right']:.1%}")
    print(f"animal's part of the crop       {document['animal_part_of_crop']:.1%}")
    print(f"energy of the maps on it        {text(document['maps'])}")
    print(f"largest value of a map on it    {text(document['largest_value_on_animal'])}")
    for part in document["gaussians"]:
        print(
            f"Gaussian, {part['deviation']:.3f} of the side     {text(part)}; "
            f"maps have {text(part['difference'], '+')}"
        )


if __name__ == "__main__":
    sys.exit(main())
