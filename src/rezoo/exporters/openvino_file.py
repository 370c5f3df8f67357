"""Format openvino: converted from the ONNX model.

With raw input the test transform is part of the graph, in OpenVINO's operations. Their modes
`bilinear_pillow` and `bicubic_pillow` resize as Pillow does.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops

from rezoo.data.transforms import LONGEST, mean_colour, resize_target
from rezoo.exporters.bundle import Bundle
from rezoo.exporters.formats import FORMATS, INPUT
from rezoo.exporters.onnx_graph import to_onnx
from rezoo.specs import Preprocessing


def write(bundle: Bundle, folder: Path) -> None:
    """Write `model.xml` and `model.bin`."""
    tensor = dataclasses.replace(bundle, takes="tensor")
    if bundle.quantizer:
        content = bundle.quantizer.content(tensor)
    else:
        content = to_onnx(tensor).SerializeToString()
    model = openvino.Core().read_model(content)
    if bundle.takes == "raw":
        model = prepend(model, bundle.preprocessing)
    model.set_rt_info(json.dumps(bundle.metadata(), ensure_ascii=False), "rezoo")
    model.set_rt_info("\n".join(bundle.labels()), ["model_info", "labels"])
    half = bundle.quantize == "float16"
    openvino.save_model(model, folder / FORMATS["openvino"].file, compress_to_fp16=half)


def prepend(model: openvino.Model, preprocessing: Preprocessing) -> openvino.Model:
    """Return a model of uint8 `(N, h, w, C)`, which applies the test transform itself."""
    [prepared] = model.get_parameters()
    image = ops.parameter([-1, -1, -1, preprocessing.channels], np.uint8, name=INPUT)
    image.output(0).set_names({INPUT})
    prepared.output(0).replace(_transform(image, preprocessing).output(0))
    return openvino.Model(model.get_results(), [image], model.get_name())


def _transform(image: Any, preprocessing: Preprocessing) -> Any:
    levels, sides = image, ops.gather(ops.shape_of(image), _whole([1, 2]), _whole(0))
    if preprocessing.crop_mode == "center":
        levels, sides = _not_too_thin(image, sides)
    size = _resized(sides, preprocessing)
    resized = ops.interpolate(
        levels,
        size,
        mode=f"{preprocessing.interpolation}_pillow",
        shape_calculation_mode="sizes",
        pads_begin=[0, 0, 0, 0],
        pads_end=[0, 0, 0, 0],
        cube_coeff=-0.5,
        axes=_whole([1, 2]),
    )
    values = _centre(resized, size, preprocessing)
    mean, std = (np.asarray(v, np.float64) for v in (preprocessing.mean, preprocessing.std))
    scaled = ops.multiply(values, ops.constant((1 / (255 * std)).astype(np.float32)))
    return ops.add(scaled, ops.constant((-mean / std).astype(np.float32)))


def _not_too_thin(image: Any, sides: Any) -> tuple[Any, Any]:
    """Cut an image to at most `LONGEST` times its shorter side; return it and its sides."""
    shorter = ops.reduce_min(sides, _whole([0]), keep_dims=True)
    kept = ops.minimum(sides, ops.multiply(shorter, _whole([LONGEST])))
    start = ops.divide(ops.subtract(sides, kept), _whole([2]))
    return _part(image, start, ops.add(start, kept)), kept


def _resized(sides: Any, preprocessing: Preprocessing) -> Any:
    """Return the height and width after the resize; see `rezoo.data.transforms`."""
    goal, mode = resize_target(preprocessing), preprocessing.crop_mode
    target = _whole(list(goal))
    if mode == "squash":
        return target
    if mode == "center" and goal[0] == goal[1]:
        shorter = ops.reduce_min(sides, _whole([0]), keep_dims=True)
        return ops.divide(ops.multiply(sides, target), shorter)
    # the side that fits more tightly gives the scale, or with a border the other one; the processor
    # divides in float32, so it divides products, which are exact
    h, w = (ops.gather(sides, _whole([i]), _whole(0)) for i in (0, 1))
    compare = ops.greater_equal if mode == "border" else ops.less_equal
    rows = compare(ops.multiply(h, _whole([goal[1]])), ops.multiply(w, _whole([goal[0]])))
    scale, side = ops.select(rows, _whole([goal[0]]), _whole([goal[1]])), ops.select(rows, h, w)
    exact = ops.divide(*(ops.convert(x, "f32") for x in (ops.multiply(sides, scale), side)))
    nearest = ops.convert(ops.round(exact, "half_to_even"), "i64")
    return ops.maximum(nearest, _whole([1]))


def _centre(image: Any, size: Any, preprocessing: Preprocessing) -> Any:
    """Return the crop, as float32; what is missing of a border gets the mean colour."""
    kept = crop = _whole(list(preprocessing.size))
    if preprocessing.crop_mode == "border":
        kept = ops.minimum(size, crop)
    over = ops.convert(ops.subtract(size, kept), "f32")
    half = ops.multiply(over, ops.constant(np.float32(0.5)))
    start = ops.convert(ops.round(half, "half_to_even"), "i64")
    values = ops.convert(_part(image, start, ops.add(start, kept)), "f32")
    if preprocessing.crop_mode != "border":
        return values
    missing = ops.subtract(crop, kept)
    before = ops.divide(missing, _whole([2]))
    none = _whole([0])
    pads = (ops.concat([none, x, none], 0) for x in (before, ops.subtract(missing, before)))
    # the border is zero on a scale where that is the colour, which differs by channel
    colour = ops.constant(np.asarray(mean_colour(preprocessing), np.float32))
    padded = ops.pad(ops.subtract(values, colour), *pads, "constant", ops.constant(np.float32(0)))
    return ops.add(padded, colour)


def _part(image: Any, start: Any, end: Any) -> Any:
    return ops.slice(image, start, end, _whole([1, 1]), _whole([1, 2]))


def _whole(values: Any) -> Any:
    return ops.constant(np.asarray(values, np.int64))
