"""Prepare TFDS's `oxford_iiit_pet` from a folder of its own layout, without a network.

    python examples/pets_from_folder.py FOLDER DATA_DIR [--force]
    TFDS_DATA_DIR=DATA_DIR rezoo train resnet18 --dataset oxford_iiit_pet

FOLDER has `images/*.jpg` and `annotations/{list,trainval,test}.txt`, with `annotations/xmls`
and `annotations/trimaps` where there are any. It may be a part of the dataset: then no
accuracy on it compares with a published one. The two archives are packed from it and put
where TFDS keeps its downloads, so that its own builder takes them for downloaded.
"""

from __future__ import annotations

import argparse
import base64
import io
import shutil
import sys
import tarfile
from pathlib import Path

# A grey PNG of one pixel: what a trimap is replaced by where the folder has none.
PLACEHOLDER = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
LISTS = ("list.txt", "trainval.txt", "test.txt")


def main() -> int:
    """Pack the archives, put them in place, and prepare the dataset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="has images/ and annotations/")
    parser.add_argument("data_dir", type=Path, help="what TFDS_DATA_DIR will be")
    parser.add_argument("--force", action="store_true", help="replace what DATA_DIR has of it")
    args = parser.parse_args()
    names = image_names(args.folder)
    made = [args.data_dir / "oxford_iiit_pet", args.data_dir / "downloads" / "oxford_iiit_pet"]
    extracted = args.data_dir / "downloads" / "extracted" / "oxford_iiit_pet"
    if any(path.exists() for path in made):
        if not args.force:
            sys.exit(f"{args.data_dir} already has oxford_iiit_pet: say --force to replace it")
        for path in (*made, extracted):
            shutil.rmtree(path, ignore_errors=True)
    downloads = made[1]
    downloads.mkdir(parents=True)
    images, annotations = downloads / "images.tar.gz", downloads / "annotations.tar.gz"
    pack_images(args.folder, names, images)
    replaced = pack_annotations(args.folder, names, annotations)
    if replaced:
        say(f"{replaced} of {len(names)} images have no trimap: they get a placeholder of 1 pixel")
    register([images, annotations])
    prepare(args.data_dir)
    return 0


def say(text: str) -> None:
    """Print for the person who waits."""
    print(text, file=sys.stderr)


def image_names(folder: Path) -> list[str]:
    """Return the names in the two split lists, after checking that their files are there."""
    absent = [name for name in LISTS if not (folder / "annotations" / name).is_file()]
    if absent:
        sys.exit(f"{folder / 'annotations'} lacks {', '.join(absent)}")
    names = []
    for name in ("trainval.txt", "test.txt"):
        lines = (folder / "annotations" / name).read_text().splitlines()
        names += [line.split()[0] for line in lines if line and not line.startswith("#")]
    gone = [name for name in names if not (folder / "images" / f"{name}.jpg").is_file()]
    if gone:
        sys.exit(f"{len(gone)} listed images are not in {folder / 'images'}: {gone[0]}.jpg …")
    return names


def pack_images(folder: Path, names: list[str], archive: Path) -> None:
    """Write `images.tar.gz`; like the genuine one, it is a plain tar under that name."""
    with tarfile.open(archive, "w") as tar:
        for name in names:
            data = (folder / "images" / f"{name}.jpg").read_bytes()
            if data.startswith(b"GIF8"):
                say(f"{name}.jpg is really a GIF, which TFDS's builder fails on: now a JPEG")
                data = as_jpeg(data)
            add_bytes(tar, f"images/{name}.jpg", data)


def as_jpeg(gif: bytes) -> bytes:
    """Return the first picture of a GIF file as a JPEG file."""
    import tensorflow as tf

    pixels = tf.io.decode_image(gif, channels=3, expand_animations=False)
    return tf.io.encode_jpeg(pixels, quality=95).numpy()


def add_bytes(tar: tarfile.TarFile, member: str, data: bytes) -> None:
    """Add a file that is in memory to an archive."""
    info = tarfile.TarInfo(member)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def pack_annotations(folder: Path, names: list[str], archive: Path) -> int:
    """Write `annotations.tar.gz`; return for how many images a trimap was made up."""
    source = folder / "annotations"
    replaced = 0
    with tarfile.open(archive, "w") as tar:
        for name in LISTS:
            tar.add(source / name, f"annotations/{name}")
        for name in names:
            box = source / "xmls" / f"{name}.xml"
            if box.is_file():
                tar.add(box, f"annotations/xmls/{name}.xml")
            trimap = source / "trimaps" / f"{name}.png"
            member = f"annotations/trimaps/{name}.png"
            if trimap.is_file():
                tar.add(trimap, member)
                continue
            replaced += 1
            add_bytes(tar, member, PLACEHOLDER)
    return replaced


def register(archives: list[Path]) -> None:
    """Give the archives the names and the records of downloads that TFDS has made itself."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import resource

    for url, known in tfds.builder_cls("oxford_iiit_pet").url_infos.items():
        [archive] = [a for a in archives if a.name == known.filename]
        target = archive.with_name(resource.get_dl_fname(url, known.checksum))
        archive.replace(target)
        resource.write_info_file(
            url=url,
            path=type(tfds.core.tfds_path())(target),  # TFDS's own kind of path
            dataset_name="oxford_iiit_pet",
            original_fname=known.filename,
            url_info=known,
        )


def prepare(data_dir: Path) -> None:
    """Let rezoo prepare the dataset, and say what came out."""
    from rezoo.data.tfds import open_tfds

    opened = open_tfds("oxford_iiit_pet", folder=data_dir, licence="as the folder's")
    sizes = ", ".join(f"{name} {len(part)}" for name, part in opened.parts.items())
    say(f"{data_dir}: {sizes}, {len(opened.class_names)} classes")
    say(f"now: TFDS_DATA_DIR={data_dir} rezoo train resnet18 --dataset oxford_iiit_pet")


if __name__ == "__main__":
    sys.exit(main())
