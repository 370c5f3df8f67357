"""Each format's runtime: a function that opens a folder and returns `(name, metadata, call)`.

The functions import their runtime alone, since the memory of an export includes the imports.
Keras, TensorFlow and JAX have no number of threads for a single network: theirs is that of the
processors that the process may use, and `open_exported` refuses others.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from rezoo.errors import IntegrityError
from rezoo.exporters.formats import FORMATS, INPUT, METADATA, UNKNOWN
from rezoo.utils.documents import MAX_JSON_BYTES, parse_json, read_document
from rezoo.utils.silence import silent_stderr

Opened = tuple[str, dict[str, Any], Callable[[np.ndarray], Any]]
"""Name, description, and a function from images to the output, or to a tuple of two outputs."""


def open_keras(folder: Path, threads: int) -> Opened:
    """Open `model.keras` with Keras."""
    import keras

    from rezoo.evaluation.forward import compiled_forward

    path = folder / FORMATS["keras"].file
    metadata = _archived(path)
    model: Any = keras.saving.load_model(path, compile=False, safe_mode=True)
    name = f"Keras {keras.__version__} on {keras.config.backend()}"
    if not isinstance(model.output, dict):
        return name, metadata, compiled_forward(model)
    unknown = keras.layers.Reshape((1,))(model.output[UNKNOWN])
    both = keras.layers.Concatenate(dtype="float32")([model.output[metadata["output"]], unknown])
    run = compiled_forward(keras.Model(model.inputs, both))

    def call(images: Any) -> Any:
        values = run(images)
        return values[:, :-1], values[:, -1]

    return name, metadata, call


def open_saved_model(folder: Path, threads: int) -> Opened:
    """Open a SavedModel with TensorFlow."""
    import tensorflow as tf

    metadata = _read(folder / "assets.extra")
    loaded = tf.saved_model.load(str(folder))
    run, names = loaded.signatures["serving_default"], outputs_in(metadata)

    def call(images: Any, loaded: Any = loaded) -> Any:  # the signature keeps no variables alive
        found = run(image=tf.constant(images))
        return one_or_two([found[name].numpy() for name in names])

    return f"TensorFlow {tf.__version__}", metadata, call


def open_onnx(folder: Path, threads: int) -> Opened:
    """Open `model.onnx` with onnxruntime on the CPU."""
    import onnxruntime

    path = folder / FORMATS["onnx"].file
    session = onnx_session(path, threads=threads)
    properties = session.get_modelmeta().custom_metadata_map
    if "rezoo" not in properties:
        raise IntegrityError(f"{path} was not exported by rezoo")
    metadata = parse_json(properties["rezoo"], path)

    def call(images: np.ndarray) -> Any:
        return one_or_two(session.run(outputs_in(metadata), {INPUT: images}))

    return f"onnxruntime {onnxruntime.__version__}", metadata, call


def onnx_session(model: bytes | Path, *, threads: int | None = None) -> Any:
    """Return onnxruntime's session of a model, serialized or in a file, without its warnings."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads:
        options.intra_op_num_threads = threads
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def open_openvino(folder: Path, threads: int) -> Opened:
    """Open `model.xml` with OpenVINO on the CPU, in float32 or, if quantized, in int8."""
    import openvino

    core, path = openvino.Core(), folder / FORMATS["openvino"].file
    model = core.read_model(path)
    if not model.has_rt_info("rezoo"):
        raise IntegrityError(f"{path} was not exported by rezoo")
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "f32",  # some processors would compute in bfloat16
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
    }
    request = core.compile_model(model, "CPU", settings).create_infer_request()

    metadata = parse_json(model.get_rt_info("rezoo").astype(str), path)
    count = len(outputs_in(metadata))

    def call(images: np.ndarray) -> Any:
        found = request.infer([np.ascontiguousarray(images)])
        return one_or_two([found[place].copy() for place in range(count)])

    return f"OpenVINO {openvino.__version__.partition('-')[0]}", metadata, call


def open_litert(folder: Path, threads: int) -> Opened:
    """Open `model.tflite` with LiteRT's interpreter, whose own default is one thread."""
    from ai_edge_litert.interpreter import Interpreter

    path = folder / FORMATS["litert"].file
    metadata = _archived(path)
    with silent_stderr():  # it names its delegate
        interpreter = Interpreter(str(path), num_threads=threads)
        interpreter.allocate_tensors()
    place = interpreter.get_input_details()[0]["index"]
    signature = interpreter.get_signature_runner().get_output_details()
    results = [signature[name]["index"] for name in outputs_in(metadata)]
    allocated: tuple[int, ...] = ()

    def call(images: np.ndarray) -> Any:
        nonlocal allocated
        if images.shape != allocated:
            interpreter.resize_tensor_input(place, images.shape)
            interpreter.allocate_tensors()
            allocated = images.shape
        interpreter.set_tensor(place, images)
        interpreter.invoke()
        return one_or_two([interpreter.get_tensor(result) for result in results])

    return f"LiteRT {version('ai-edge-litert')}", metadata, call


def open_stablehlo(folder: Path, threads: int) -> Opened:
    """Open `model.stablehlo` with JAX."""
    import jax
    import jax.export

    content = (folder / FORMATS["stablehlo"].file).read_bytes()
    run = jax.jit(jax.export.deserialize(bytearray(content)).call)
    return f"JAX {jax.__version__}", _read(folder), run


def open_torch(folder: Path, threads: int) -> Opened:
    """Open the folder with timm."""
    import timm
    import torch

    torch.set_num_threads(threads)
    model: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    model = model.to(memory_format=torch.channels_last)

    def call(images: np.ndarray) -> Any:
        with torch.inference_mode():
            return model(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()

    return f"PyTorch {torch.__version__}, timm {timm.__version__}", _read(folder), call


OPENERS: dict[str, Callable[[Path, int], Opened]] = {
    "keras": open_keras,
    "saved_model": open_saved_model,
    "onnx": open_onnx,
    "openvino": open_openvino,
    "litert": open_litert,
    "stablehlo": open_stablehlo,
    "torch": open_torch,
}


def outputs_in(metadata: Mapping[str, Any]) -> list[str]:
    """Return the names of an export's outputs, one or two."""
    second = metadata.get("second_output")
    return [metadata["output"], *([second["name"]] if second else [])]


def one_or_two(outputs: Sequence[Any]) -> Any:
    """Return a single output itself, two as a tuple."""
    return tuple(outputs) if len(outputs) > 1 else outputs[0]


def _read(folder: Path) -> dict[str, Any]:
    return read_document(folder / METADATA)


def _archived(path: Path) -> dict[str, Any]:
    """Return the description in the zip archive that a file is or ends in."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(METADATA) as file:
            # a packed file may be a thousand times larger than the archive
            return dict(parse_json(file.read(MAX_JSON_BYTES + 1), path))
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise IntegrityError(f"{path} was not exported by rezoo: {error}") from error
