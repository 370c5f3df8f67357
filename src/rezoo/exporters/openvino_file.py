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

from rezoo.data.transforms import LONGEST
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
    levels, sides = _not_too_thin(image)
    h, w = (ops.gather(sides, _whole([i]), _whole(0)) for i in (0, 1))
    th, tw = (int(side / preprocessing.crop_pct) for side in preprocessing.size)
    by_rows, by_columns = ops.multiply(h, _whole([tw])), ops.multiply(w, _whole([th]))
    rows_decide = ops.less_equal(by_rows, by_columns)
    height = ops.select(rows_decide, _whole([th]), ops.divide(by_rows, w))
    width = ops.select(rows_decide, ops.divide(by_columns, h), _whole([tw]))
    size = ops.concat([height, width], 0)
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
    cropped = _centre(resized, size, preprocessing.size)
    values = ops.convert(cropped, "f32")
    mean, std = (np.asarray(v, np.float64) for v in (preprocessing.mean, preprocessing.std))
    scaled = ops.multiply(values, ops.constant((1 / (255 * std)).astype(np.float32)))
    return ops.add(scaled, ops.constant((-mean / std).astype(np.float32)))


def _not_too_thin(image: Any) -> tuple[Any, Any]:
    """Cut an image to at most `LONGEST` times its shorter side; return it and its sides."""
    shape = ops.gather(ops.shape_of(image), _whole([1, 2]), _whole(0))
    shorter = ops.reduce_min(shape, _whole([0]), keep_dims=True)
    kept = ops.minimum(shape, ops.multiply(shorter, _whole([LONGEST])))
    start = ops.divide(ops.subtract(shape, kept), _whole([2]))
    return _part(image, start, ops.add(start, kept)), kept


def _centre(image: Any, size: Any, crop: tuple[int, int]) -> Any:
    over = ops.convert(ops.subtract(size, _whole(list(crop))), "f32")
    half = ops.multiply(over, ops.constant(np.float32(0.5)))
    start = ops.convert(ops.round(half, "half_to_even"), "i64")
    return _part(image, start, ops.add(start, _whole(list(crop))))


def _part(image: Any, start: Any, end: Any) -> Any:
    return ops.slice(image, start, end, _whole([1, 1]), _whole([1, 2]))


def _whole(values: Any) -> Any:
    return ops.constant(np.asarray(values, np.int64))
