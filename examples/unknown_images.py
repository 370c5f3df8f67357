"""Measure calibration and "unknown" on the pets: 30 breeds are trained on, 7 are left out.

    python examples/unknown_images.py WEIGHTS PETS PHOTOGRAPHS [--output FOLDER] [--recipe probe]

WEIGHTS is a model reference with ImageNet weights. PETS has `images/*.jpg` and
`annotations/{trainval,test}.txt`, as the Oxford-IIIT Pet dataset has. PHOTOGRAPHS has ImageNet
photographs whose names begin with the WordNet id; those of animals are left out (ids up to
n02500000). FOLDER gets links to the images, sorted into splits, and the run.

Every fifth breed is left out of training: its images are the near unknowns, the photographs the far
ones. Of the other breeds, every third image of `trainval` is for validation: a temperature needs
some mistakes. The table goes to the standard output.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import rezoo
from rezoo.data.datasets import DataOptions
from rezoo.evaluation.calibrating.calibration import calibrate
from rezoo.evaluation.calibrating.separation import UnknownImages
from rezoo.evaluation.calibrating.unknown_images import tell_apart, unknown_for
from rezoo.evaluation.result import Evaluation

FIRST_THING = 2_500_000  # WordNet ids of animals are smaller
EVERY, FIRST = 5, 2  # of the sorted breeds, those that are left out
VALIDATION = 3  # one of so many images of trainval


def main() -> None:
    """Sort the images, train, calibrate, measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights")
    parser.add_argument("pets", type=Path)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--recipe", default="probe")
    arguments = parser.parse_args()
    folder = arguments.output or Path(tempfile.mkdtemp(prefix="unknown-"))
    known, near, far = (folder / name for name in ("known", "near", "far"))
    sort_pets(arguments.pets, known, near)
    link(things(arguments.photographs), far)
    begun = time.perf_counter()
    dataset = f"folder:{known}"
    run = rezoo.train(
        arguments.weights, dataset, recipe=arguments.recipe, output=folder / "run", overwrite=True
    )
    trained = time.perf_counter()
    found = calibrate(run)
    print_calibration(found.to_dict())
    calibrated = time.perf_counter()
    model = rezoo.load(run)
    model.rezoo_class_means = found.class_means  # so that both scores are measured
    result = rezoo.evaluate(model, dataset)
    print_figures(result)
    places = (f"folder:{place}" for place in (near, far))
    others = [unknown_for(result.setting, place, DataOptions()) for place in places]
    print_unknown([tell_apart(result, images) for images in others])
    seconds = trained - begun, calibrated - trained, time.perf_counter() - calibrated
    print("{:.0f} s to train, {:.0f} s to calibrate, {:.0f} s to measure".format(*seconds))


def sort_pets(pets: Path, known: Path, near: Path) -> None:
    """Link the images of the known breeds to `known/SPLIT/BREED`, the others to `near/BREED`."""
    lists = {name: image_names(pets, name) for name in ("trainval", "test")}
    breeds = sorted({breed(name) for names in lists.values() for name in names})
    left_out = breeds[FIRST::EVERY]
    print(f"left out: {', '.join(left_out)}\n", file=sys.stderr)
    for listed, names in lists.items():
        seen: dict[str, int] = {}
        for name in sorted(names):
            number = seen[breed(name)] = seen.get(breed(name), -1) + 1
            held_out = number % VALIDATION == VALIDATION - 1
            split = "test" if listed == "test" else "val" if held_out else "train"
            place = near if breed(name) in left_out else known / split
            link([pets / "images" / f"{name}.jpg"], place / breed(name))


def image_names(pets: Path, split: str) -> list[str]:
    """Return the names in a list of the dataset."""
    lines = (pets / "annotations" / f"{split}.txt").read_text().splitlines()
    return [line.split()[0] for line in lines if line and not line.startswith("#")]


def breed(name: str) -> str:
    """Return the breed in the name of an image."""
    return name.rpartition("_")[0]


def things(photographs: Path) -> list[Path]:
    """Return the photographs that show no animal, by their WordNet ids."""
    files = sorted(photographs.glob("n[0-9]*"))
    return [file for file in files if int(file.name[1:9]) > FIRST_THING]


def link(files: list[Path], folder: Path) -> None:
    """Link files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        place = folder / file.name
        if not place.exists():
            place.symlink_to(file.resolve())


def print_calibration(found: dict) -> None:
    """Print what `rezoo calibrate` has found."""
    low, high = found["temperature_interval"]
    print(f"temperature {found['temperature']:.3f} ({low:.3f} to {high:.3f}), ", end="")
    print(f"{found['images']} validation images; score: {found['score']}")
    held_out = ", ".join(f"{k} {v:.3f}" for k, v in found["held_out_auroc"].items())
    print(f"AUROC on held-out classes of validation: {held_out}\n")


def print_figures(result: Evaluation) -> None:
    """Print accuracy, and loss, ECE and Brier score before and after."""
    print(f"| {len(result.predictions)} test images | value | 95 % interval |")
    print("|---|---|---|")
    for key in ("top1", "loss", "loss_calibrated", "ece", "ece_calibrated", "brier"):
        print_row(result, key)
    print_row(result, "brier_calibrated")
    print()


def print_row(result: Evaluation, key: str) -> None:
    """Print a figure as a row of a table."""
    figure = result.figures[key]
    print(f"| {figure.name} | {figure.shown} | {figure.shown_interval} |")


def print_unknown(found: list[UnknownImages]) -> None:
    """Print the AUROC of each score, and what the threshold refuses."""
    print("| AUROC | near | far |\n|---|---|---|")
    for row in zip(*(result.separations for result in found), strict=True):
        cells = ("{:.3f} ({:.3f} to {:.3f})".format(one.auroc, *one.interval) for one in row)
        print(f"| {row[0].score} | {' | '.join(cells)} |")
    print()
    for result in found:
        print("; ".join(result.summary()))


if __name__ == "__main__":
    main()
