"""Draw the pictures of the guide on robustness, from what two commands print.

    rezoo eval runs/resnet20 --corruptions all --json > corruptions.json
    rezoo examine runs/resnet20 --lesion --json > resnet20.json
    rezoo examine runs/plain20 --lesion --json > plain20.json
    python examples/draw_robustness.py corruptions.json resnet20.json plain20.json images

The kinds of corruption are shown on a photograph that comes with scikit-learn: "flower", CC BY 2.0,
vultilion (Flickr).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import sklearn.datasets
from PIL import Image

from rezoo.data.audit.layout import line_height, paste, write
from rezoo.evaluation.damage.corruptions import KINDS, SEVERITIES, corrupt
from rezoo.evaluation.damage.drops import Robustness
from rezoo.evaluation.damage.lesions import Lesions
from rezoo.utils.bars import draw_bars
from rezoo.utils.figures import sheet, stack

SIDE, GAP, MARGIN, FONT, NAMES = 96, 4, 12, 15, 152
SIZE = 224  # of the photograph, for which the parameters of ImageNet-C are


def kinds() -> Image.Image:
    """Return a sheet: a row for each kind, a column for each severity."""
    photograph = Image.fromarray(sklearn.datasets.load_sample_image("flower.jpg"))
    image = np.asarray(photograph.crop((130, 50, 450, 370)).resize((SIZE, SIZE)))
    top = MARGIN + line_height(FONT) + GAP
    size = (
        NAMES + len(SEVERITIES) * (SIDE + GAP) + MARGIN,
        top + len(KINDS) * (SIDE + GAP) + MARGIN,
    )
    picture = Image.new("RGB", size, "white")
    for column, severity in enumerate(SEVERITIES):
        left = NAMES + column * (SIDE + GAP)
        write(picture, f"severity {severity}", left, MARGIN, SIDE, FONT)
        for row, kind in enumerate(KINDS):
            at = top + row * (SIDE + GAP)
            if not column:
                write(picture, kind, MARGIN, at + SIDE // 2 - FONT // 2, NAMES - MARGIN, FONT)
            changed = corrupt(image, kind, severity, seed=0, index=0)
            paste(picture, changed, left, at, SIDE)
    return picture


def main(corruptions: str, *documents: str) -> None:
    """Write the three pictures into the folder that is named last."""
    *lesions, folder = documents
    kinds().save(Path(folder) / "corruptions.jpg", quality=85)
    found = Robustness.from_dict(json.loads(Path(corruptions).read_text())["corruptions"])
    title = f"{Path(found.model).name} on {found.dataset}"
    Path(folder, "robustness.svg").write_text(sheet(title, found.charts()))
    bars = [Lesions.from_dict(json.loads(Path(path).read_text())) for path in lesions]
    width = max(each.chart().width for each in bars)
    title = " and ".join(Path(each.model).name for each in bars) + f" on {bars[0].dataset}"
    drawn = [draw_bars(each.chart(), width) for each in bars]
    Path(folder, "lesions.svg").write_text(stack(title, drawn, columns=2, width=width))


if __name__ == "__main__":
    main(*sys.argv[1:])
