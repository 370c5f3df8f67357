"""How far the test transform is from Pillow's: `python compare_pixels.py PHOTOS [MODEL]`.

PHOTOS is a folder of images, MODEL a reference with weights whose answers on both pipelines are
compared, too. Pillow's side is written as torchvision's and timm's test transforms are: decode,
turn upright, resize the shorter side with antialiasing, crop the centre.
"""

from __future__ import annotations

import dataclasses
import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

import rezoo
from rezoo.data.image_files import UnreadableImageError, decode_file
from rezoo.data.images import decode
from rezoo.data.transforms import test_transform
from rezoo.evaluation.forward import compiled_forward
from rezoo.evaluation.predict import find_images
from rezoo.specs import Preprocessing

PILLOW = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
# (size, crop_pct): shrinking most photographs, odd, enlarging all but the largest, no crop
GEOMETRIES = [(224, 0.875), (224, 0.95), (161, 0.9), (1023, 1.0), (288, 1.0)]
RAW = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def pillow_pixels(content: bytes, pre: Preprocessing) -> np.ndarray:
    """Return grey levels 0..255, float32 `(H, W, 3)`, as the reference pipelines give them."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
    shorter = int(pre.size[0] / pre.crop_pct)
    width, height = image.size
    if width > height:
        size = (int(shorter * width / height), shorter)
    else:
        size = (shorter, int(shorter * height / width))
    image = image.resize(size, PILLOW[pre.interpolation])
    left, top = (round((side - pre.size[0]) / 2.0) for side in image.size)
    cropped = image.crop((left, top, left + pre.size[0], top + pre.size[0]))
    return np.asarray(cropped, np.float32)


def compare_geometries(contents: list[bytes]) -> None:
    """Print differences in grey levels for every geometry and interpolation."""
    print("| interpolation | size | crop | mean | 99.9 % | most | equal |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for interpolation in PILLOW:
        for size, crop in GEOMETRIES:
            pre = Preprocessing(
                input_size=(3, size, size), crop_pct=crop, interpolation=interpolation, **RAW
            )
            ours = test_transform(pre, encoded=True)
            differences = np.concatenate(
                [np.abs(ours(c).numpy() * 255 - pillow_pixels(c, pre)).ravel() for c in contents]
            )
            print(
                f"| {interpolation} | {size} | {crop} | {differences.mean():.4f} | "
                f"{np.quantile(differences, 0.999):.0f} | {differences.max():.0f} | "
                f"{(differences < 0.5).mean():.2%} |",
                flush=True,
            )


def compare_answers(contents: list[bytes], names: list[str], reference: str) -> None:
    """Print how often a network gives the same first answer on both pipelines, and is right.

    It is right where a file's name begins with the name of the class.
    """
    model = rezoo.load(reference)
    pre = model.rezoo_config.preprocessing.for_test()
    forward, ours = compiled_forward(model), test_transform(pre, encoded=True)
    mean, std = (np.array(v, np.float32) for v in (pre.mean, pre.std))
    answers = []
    for content in contents:
        theirs = (pillow_pixels(content, dataclasses.replace(pre, **RAW)) / 255 - mean) / std
        both = np.stack([ours(content).numpy(), theirs])
        answers.append(forward(both).argmax(-1))
    same = np.mean([one == other for one, other in answers])
    print(f"\n{reference}: the same first answer for {same:.1%} of {len(contents)} images")
    classes = model.rezoo_config.class_names
    right = [
        [bool(classes) and name.startswith(classes[answer]) for answer in pair]
        for name, pair in zip(names, answers, strict=True)
    ]
    print("top-1: rezoo {:.1%}, Pillow {:.1%}".format(*np.mean(right, axis=0)))


def is_image(content: bytes) -> bool:
    """Return whether a file can be decoded."""
    try:
        return decode_file(content, 3).size > 0
    except UnreadableImageError:
        return False


def main(photos: str, reference: str | None) -> None:
    """Compare all images of a folder that can be decoded."""
    contents = {p.name: p.read_bytes() for p in map(Path, find_images([photos]))}
    contents = {name: c for name, c in contents.items() if is_image(c)}
    kept = list(contents.values())
    exact = sum(
        np.array_equal(
            decode(c, 3).numpy(),
            np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(c))).convert("RGB")),
        )
        for c in kept
    )
    print(f"{len(kept)} images; decoded to the same bits: {exact}\n")
    compare_geometries(kept)
    if reference:
        compare_answers(kept, list(contents), reference)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
