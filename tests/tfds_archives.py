"""Tiny archives in the layouts of the genuine ones, for TFDS's own builders."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.checksums import UrlInfo
from tensorflow_datasets.core.utils import Size

PETS_URL = "https://thor.robots.ox.ac.uk/~vgg/data/pets"
FLOWERS_URL = "http://download.tensorflow.org/example_images/flower_photos.tgz"
IMAGENET_WNIDS = ("n01440764", "n02012849", "n15075141")


def photo(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), np.uint8)
    return tf.io.encode_jpeg(pixels).numpy()


def tar(members: dict[str, bytes], *, mode: str = "w") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return packed.getvalue()


def pets() -> dict[str, bytes]:
    """Return `images.tar.gz` and `annotations.tar.gz`: 6 train, 4 test images of 3 breeds."""
    trimap = tf.io.encode_png(np.ones((24, 32, 1), np.uint8)).numpy()
    images, annotations = {}, {}
    lists: dict[str, list[str]] = {"trainval": [], "test": []}
    for number in range(10):
        breed, name = number % 3, f"Breed_{number}"
        images[f"images/{name}.jpg"] = photo(number)
        annotations[f"annotations/trimaps/{name}.png"] = trimap
        lists["trainval" if number < 6 else "test"].append(f"{name} {breed + 1} 1 1")
    lists["list"] = lists["trainval"] + lists["test"]
    for name, lines in lists.items():
        annotations[f"annotations/{name}.txt"] = ("\n".join(lines) + "\n").encode()
    return {
        "images.tar.gz": tar(images, mode="w:gz"),
        "annotations.tar.gz": tar(annotations, mode="w:gz"),
    }


def imagenet() -> dict[str, bytes]:
    """Return the train, validation and test archives of ILSVRC 2012 in miniature."""
    train = {
        f"{wnid}.tar": tar({f"{wnid}_{i}.JPEG": photo(10 * k + i) for i in range(4)})
        for k, wnid in enumerate(IMAGENET_WNIDS)
    }
    val = {f"ILSVRC2012_val_{i:08}.JPEG": photo(100 + i) for i in range(1, 6)}
    test = {f"ILSVRC2012_test_{i:08}.JPEG": photo(200 + i) for i in range(1, 4)}
    return {
        "ILSVRC2012_img_train.tar": tar(train),
        "ILSVRC2012_img_val.tar": tar(val),
        "ILSVRC2012_img_test.tar": tar(test),
    }


def flowers() -> dict[str, bytes]:
    """Return `flower_photos.tgz`: 20 images, of which TFDS makes a train split only."""
    kinds = ("daisy", "roses")
    members = {f"flower_photos/{kinds[i % 2]}/{i}.jpg": photo(300 + i) for i in range(20)}
    return {"flower_photos.tgz": tar(members, mode="w:gz")}


def write(archives: dict[str, bytes], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in archives.items():
        (folder / name).write_bytes(data)


def records_of(archives: dict[str, bytes], base: str) -> dict[str, UrlInfo]:
    """Return what TFDS would know of the archives if they were the genuine ones."""
    return {
        f"{base}/{name}": UrlInfo(
            size=Size(len(data)), checksum=hashlib.sha256(data).hexdigest(), filename=name
        )
        for name, data in archives.items()
    }


def make_known(patch: pytest.MonkeyPatch, dataset: str, infos: dict[str, UrlInfo]) -> None:
    """Make TFDS accept these archives as the genuine ones, and no others."""
    table = tfds.builder_cls(dataset).url_infos
    for url in set(table) - set(infos):
        patch.delitem(table, url)
    for url, info in infos.items():
        patch.setitem(table, url, info)


def isolate(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Keep the cache below `folder`, and the proxies of the machine out of it."""
    patch.setenv("REZOO_CACHE", str(folder / "cache"))
    patch.setenv("NO_PROXY", "*")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"):
        patch.delenv(name, raising=False)
