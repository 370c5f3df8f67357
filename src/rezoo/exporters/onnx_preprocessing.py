"""The test transform as nodes of an ONNX model, from images of any size to prepared ones."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from rezoo.data.transforms import LONGEST, mean_colour, resize_target
from rezoo.exporters.formats import INPUT
from rezoo.exporters.onnx_nodes import OnnxGraph
from rezoo.specs import Preprocessing

PREPARED = "prepared"


def add_preprocessing(made: OnnxGraph, preprocessing: Preprocessing) -> str:
    """Add the test transform: uint8 `(N, h, w, C)` to float32 `(N, C, H, W)`.

    ONNX's Resize on uint8 antialiases as Pillow does, up to one grey level.
    """
    levels = made.add("Transpose", [INPUT], "pre.levels", perm=[0, 3, 1, 2])
    made.constant("pre.axes", [2, 3], np.int64)
    made.constant("pre.two", [2], np.int64)
    sides = made.add("Shape", [levels], "pre.sides", start=2, end=4)
    if preprocessing.crop_mode == "center":
        levels, sides = _not_too_thin(made, levels, sides)
    size = _resized(made, sides, preprocessing)
    rest = made.add("Shape", [levels], "pre.batch_and_channels", start=0, end=2)
    whole = made.add("Concat", [rest, size], "pre.size", axis=0)
    cubic = preprocessing.interpolation == "bicubic"
    resized = made.add(
        "Resize",
        [levels, "", "", whole],
        "pre.resized",
        mode="cubic" if cubic else "linear",
        antialias=1,
        coordinate_transformation_mode="half_pixel",
        cubic_coeff_a=-0.5,
        **({"exclude_outside": 1} if cubic else {}),
    )
    values = _centre(made, resized, size, preprocessing)
    mean, std = (
        np.asarray(v, np.float64)[None, :, None, None]
        for v in (preprocessing.mean, preprocessing.std)
    )
    scaled = made.add("Mul", [values, made.constant("pre.factor", 1 / (255 * std))], "pre.scaled")
    return made.add("Add", [scaled, made.constant("pre.summand", -mean / std)], PREPARED)


def _not_too_thin(made: OnnxGraph, levels: str, sides: str) -> tuple[str, str]:
    """Cut an image to at most `LONGEST` times its shorter side; return it and its sides."""
    shorter = made.add("ReduceMin", [sides], "pre.shorter", keepdims=1)
    longest = made.constant("pre.longest", [LONGEST], np.int64)
    most = made.add("Mul", [shorter, longest], "pre.most")
    kept = made.add("Min", [sides, most], "pre.kept")
    start = made.add("Div", [made.add("Sub", [sides, kept], "pre.over"), "pre.two"], "pre.start")
    end = made.add("Add", [start, kept], "pre.end")
    return made.add("Slice", [levels, start, end, "pre.axes"], "pre.part"), kept


def _resized(made: OnnxGraph, sides: str, preprocessing: Preprocessing) -> str:
    """Add the height and width after the resize; see `rezoo.data.transforms`."""
    goal, mode = resize_target(preprocessing), preprocessing.crop_mode
    target = made.constant("pre.target", goal, np.int64)
    if mode == "squash":
        return target
    if mode == "center" and goal[0] == goal[1]:
        least = made.add("ReduceMin", [sides], "pre.least", keepdims=1)
        times = made.add("Mul", [sides, target], "pre.times")
        return made.add("Div", [times, least], "pre.resized_sides")
    double = made.add("Cast", [sides], "pre.double", to=TensorProto.DOUBLE)
    goals = made.constant("pre.goals", goal, np.float64)
    ratios = made.add("Div", [double, goals], "pre.ratios")
    ratio = made.add("ReduceMax" if mode == "border" else "ReduceMin", [ratios], "pre.ratio")
    nearest = made.add("Round", [made.add("Div", [double, ratio], "pre.exact")], "pre.nearest")
    whole = made.add("Cast", [nearest], "pre.whole", to=TensorProto.INT64)
    return made.add("Max", [whole, made.constant("pre.1", [1], np.int64)], "pre.resized_sides")


def _centre(made: OnnxGraph, image: str, size: str, preprocessing: Preprocessing) -> str:
    """Add the crop, as float32; what is missing of a border gets the mean colour."""
    crop = made.constant("pre.crop", preprocessing.size, np.int64)
    kept = crop
    if preprocessing.crop_mode == "border":
        kept = made.add("Min", [size, crop], "pre.inside")
    over = made.add("Sub", [size, kept], "pre.beside")
    number = made.add("Cast", [over], "pre.beside_float", to=TensorProto.FLOAT)
    half = made.add("Mul", [number, made.constant("pre.half", [0.5])], "pre.beside_half")
    # Round is to even at a half, as in torchvision
    rounded = made.add("Round", [half], "pre.first_float")
    first = made.add("Cast", [rounded], "pre.first", to=TensorProto.INT64)
    last = made.add("Add", [first, kept], "pre.last")
    cropped = made.add("Slice", [image, first, last, "pre.axes"], "pre.cropped")
    values = made.add("Cast", [cropped], "pre.float", to=TensorProto.FLOAT)
    if preprocessing.crop_mode != "border":
        return values
    missing = made.add("Sub", [crop, kept], "pre.missing")
    before = made.add("Div", [missing, "pre.two"], "pre.before")
    after = made.add("Sub", [missing, before], "pre.after")
    none = made.constant("pre.none", [0, 0], np.int64)
    pads = made.add("Concat", [none, before, none, after], "pre.pads", axis=0)
    # Pad has one value for all channels, so the border is zero on a scale where that is the colour
    colour = np.reshape(mean_colour(preprocessing), (1, -1, 1, 1))
    made.constant("pre.colour", colour)
    relative = made.add("Sub", [values, "pre.colour"], "pre.relative")
    padded = made.add("Pad", [relative, pads], "pre.padded")
    return made.add("Add", [padded, "pre.colour"], "pre.with_border")
