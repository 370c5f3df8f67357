"""Export a network in all installed formats, and print the passports as a table.

    python examples/export_all.py MODEL [--dataset DATASET] [--calibrate DATASET] [--images N]

MODEL is a reference with weights, DATASET images with its classes. int8 needs images for
calibration. The format torch needs PyTorch and timm.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from rezoo.errors import RezooError
from rezoo.exporters.export import export
from rezoo.exporters.formats import FORMATS
from rezoo.exporters.passport import Passport

HEAD = (
    "| format | numbers | input | largest difference | equal predictions | top-1 before | after "
    "| MB | one image, ms | images/s |"
)


def main() -> None:
    """Print a row for each format, quantization and input."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--dataset")
    parser.add_argument("--calibrate")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=FORMATS)
    args = parser.parse_args()
    print(HEAD, "|---|---|---|---:|---:|---:|---:|---:|---:|---:|", sep="\n", flush=True)
    for kind in (FORMATS[name] for name in args.formats):
        if kind.missing:
            continue
        ways = [("none", takes) for takes in kind.inputs]
        ways += [(numbers, "tensor") for numbers in kind.quantizations[1:]]
        for numbers, takes in ways:
            if numbers == "int8" and not (args.calibrate or args.dataset):
                continue
            with tempfile.TemporaryDirectory() as folder:
                try:
                    passport = export(
                        args.model,
                        kind.name,
                        output=Path(folder) / "export",
                        quantize=numbers,
                        takes=takes,
                        dataset=args.dataset,
                        calibrate=args.calibrate,
                        images=args.images,
                    )
                except RezooError as error:
                    print(f"| {kind.name} | {numbers} | {takes} | {error} |||||||", flush=True)
                    continue
            print(row(passport, numbers, takes), flush=True)


def row(passport: Passport, numbers: str, takes: str) -> str:
    """Return a line of the table."""
    found, cost = passport.comparison, passport.cost
    before = after = ""
    if found.accuracy:
        before, after = f"{found.accuracy.before:.1%}", f"{found.accuracy.after:.1%}"
    cells = (
        passport.format,
        "float32" if numbers == "none" else numbers,
        takes,
        f"{found.relative:.1e}",
        f"{found.agreement:.1%}",
        before,
        after,
        f"{passport.size / 1e6:.1f}",
        f"{cost['latency_ms_p50']:.1f}",
        f"{cost['images_per_s']:.0f}",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
