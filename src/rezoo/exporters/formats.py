"""The export formats: what each of them supports and needs. Imports nothing heavy."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass

from rezoo.artifacts import run_files
from rezoo.errors import IncompatibleError, MissingExtraError, SpecError, UnknownNameError
from rezoo.utils.device import usable_threads
from rezoo.utils.names import suggest

QUANTIZATIONS = ("none", "float16", "dynamic", "int8")
INPUTS = ("tensor", "raw")
FEATURES = "features"
OUTPUTS = ("logits", "probabilities", FEATURES)
PASSPORT = run_files.PASSPORT
METADATA = "rezoo.json"
LABELS = "labels.txt"
INPUT = "image"  # name of the input of an exported graph
UNKNOWN = "unknown"  # name of its second output, if it has one


@dataclass(frozen=True, kw_only=True)
class Format:
    """A kind of exported file.

    Attributes:
        name: Value of `--to`.
        file: The file that the runtime opens, inside the folder of the export.
        writer: Module with `write(bundle, folder)`.
        quantizer: Module with `calibrate(bundle, images)`; empty if the format has no int8.
        summary: One line for lists.
        quantizations: Those of `QUANTIZATIONS` that the format supports.
        inputs: Those of `INPUTS` that the format supports; raw are uint8 images of any size.
        packages: Modules that must be installed.
        install: The command that installs them.
        sets_threads: Whether the runtime has a number of threads for a network. The others use one
            for each processor that the process may use.
    """

    name: str
    file: str
    writer: str
    quantizer: str = ""
    summary: str
    quantizations: tuple[str, ...] = ("none",)
    inputs: tuple[str, ...] = ("tensor",)
    packages: tuple[str, ...] = ()
    install: str = ""
    sets_threads: bool = True

    @property
    def missing(self) -> list[str]:
        """Modules that are not installed."""
        return [name for name in self.packages if importlib.util.find_spec(name) is None]

    def require(self) -> None:
        """Raise `MissingExtraError` if a package is not installed."""
        if self.missing:
            raise MissingExtraError(
                f"format {self.name} needs {' and '.join(self.missing)}, not installed",
                hint=self.install,
            )

    def check_threads(self, threads: int | None, *, own_process: bool) -> None:
        """Raise `SpecError` if the format cannot be run on a number of threads.

        Args:
            threads: The number; None for all that this process may use.
            own_process: Whether it runs in a process of its own, which is limited to as many
                processors where the platform supports it.
        """
        most = usable_threads()
        if threads is None or threads == most:
            return
        if not 1 <= threads <= most:
            raise SpecError(
                f"threads: {threads}; allowed is 1 to {most}, which this process may use"
            )
        limited = own_process and hasattr(os, "sched_setaffinity")
        if not (self.sets_threads or limited):
            raise SpecError(
                f"threads: {threads}; {self.name} uses all {most} processors of a process here",
                hint="leave out the number of threads, or limit the process itself, for example "
                "with taskset.",
            )


_ALL = (
    Format(
        name="keras",
        file="model.keras",
        writer="rezoo.exporters.keras_file",
        summary="Keras's own file, of Keras's own layers: opens without rezoo",
        sets_threads=False,
    ),
    Format(
        name="saved_model",
        file="saved_model.pb",
        writer="rezoo.exporters.saved_model",
        summary="TensorFlow's SavedModel: TensorFlow Serving, TFX",
        sets_threads=False,
        inputs=INPUTS,
    ),
    Format(
        name="onnx",
        file="model.onnx",
        writer="rezoo.exporters.onnx_file",
        quantizer="rezoo.exporters.onnx_quantization",
        summary="ONNX: onnxruntime and most others",
        quantizations=("none", "float16", "int8"),
        inputs=INPUTS,
        packages=("onnx", "onnxruntime"),
        install="pip install 'rezoo[onnx]'",
    ),
    Format(
        name="openvino",
        file="model.xml",
        writer="rezoo.exporters.openvino_file",
        quantizer="rezoo.exporters.onnx_quantization",
        summary="OpenVINO: Intel's and ARM's processors",
        quantizations=("none", "float16", "int8"),
        inputs=INPUTS,
        packages=("openvino", "onnx", "onnxruntime"),
        install="pip install 'rezoo[openvino]'",
    ),
    Format(
        name="litert",
        file="model.tflite",
        writer="rezoo.exporters.litert_file",
        quantizer="rezoo.exporters.litert_file",
        summary="LiteRT (TensorFlow Lite): phones and small boards",
        quantizations=QUANTIZATIONS,
        packages=("ai_edge_litert",),
        install="pip install 'rezoo[litert]'",
    ),
    Format(
        name="stablehlo",
        file="model.stablehlo",
        writer="rezoo.exporters.stablehlo",
        summary="StableHLO of jax.export: JAX, IREE and other XLA compilers",
        packages=("jax",),
        install="pip install 'rezoo[jax]'",
        sets_threads=False,
    ),
    Format(
        name="torch",
        file="model.safetensors",
        writer="rezoo.exporters.torch_folder",
        summary="a folder that timm.create_model('local-dir:…') loads",
        packages=("torch", "timm"),
        install="pip install torch torchvision timm",
    ),
)
FORMATS: dict[str, Format] = {kind.name: kind for kind in _ALL}


def get_format(
    name: str, *, quantize: str = "none", takes: str = "tensor", gives: str = "logits"
) -> Format:
    """Return an installed format that supports a quantization, an input and an output.

    Raises:
        UnknownNameError: No format has that name.
        IncompatibleError: It does not support the quantization or the input.
        SpecError: The quantization is not for this output.
        MissingExtraError: A package is not installed.
    """
    if name not in FORMATS:
        raise UnknownNameError(
            f"no format {name!r}", hint=suggest(name, FORMATS, "the formats are")
        )
    kind = FORMATS[name]
    if quantize not in kind.quantizations:
        others = ", ".join(f.name for f in FORMATS.values() if quantize in f.quantizations)
        raise IncompatibleError(
            f"format {name} has no quantization {quantize!r}",
            hint=f"it supports {', '.join(kind.quantizations)}; formats with {quantize}: {others}",
        )
    if takes not in kind.inputs:
        others = ", ".join(f.name for f in FORMATS.values() if takes in f.inputs)
        raise IncompatibleError(
            f"format {name} does not support raw images: its graph has no such resize",
            hint=f"use --input tensor, or one of {others}.",
        )
    if gives == FEATURES and quantize in ("int8", "dynamic"):
        raise SpecError(
            f"{quantize} is judged by predictions, and features predict no class",
            hint="use --quantize float16, or --values logits.",
        )
    kind.require()
    return kind
