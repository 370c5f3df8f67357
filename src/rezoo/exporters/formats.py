"""Which formats there are, what each can do, and what it needs; loads nothing heavy."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from rezoo.errors import IncompatibleError, MissingExtraError, UnknownNameError
from rezoo.utils.names import suggest

QUANTIZATIONS = ("none", "float16", "dynamic", "int8")
INPUTS = ("tensor", "raw")
OUTPUTS = ("logits", "probabilities")
PASSPORT = "passport.json"
METADATA = "rezoo.json"
INPUT = "image"  # name of an export's input
LABELS = "labels.txt"


@dataclass(frozen=True, kw_only=True)
class Format:
    """A kind of exported file.

    Attributes:
        name: What `--to` takes.
        file: What runs, inside the folder of the export.
        module: Has `write(bundle, folder)`, `open_runner(folder, threads=…)` and, where there is
            int8, `quantizer(bundle)`.
        summary: One line for lists.
        quantizations: Which of `QUANTIZATIONS`.
        inputs: Which of `INPUTS`; raw are uint8 images of any size.
        packages: Modules that must be there.
        install: How to get them.
    """

    name: str
    file: str
    module: str
    summary: str
    quantizations: tuple[str, ...] = ("none",)
    inputs: tuple[str, ...] = ("tensor",)
    packages: tuple[str, ...] = ()
    install: str = ""

    @property
    def missing(self) -> list[str]:
        """Modules that are not installed."""
        return [name for name in self.packages if importlib.util.find_spec(name) is None]

    def require(self) -> None:
        """Raise `MissingExtraError` where a package is not installed."""
        if self.missing:
            raise MissingExtraError(
                f"format {self.name} needs {' and '.join(self.missing)}, not installed",
                hint=self.install,
            )

    def check(self, *, quantize: str, takes: str) -> None:
        """Raise `IncompatibleError` where the format cannot do what is asked."""
        if quantize not in self.quantizations:
            raise IncompatibleError(
                f"format {self.name} has no quantization {quantize!r}",
                hint=f"it has {', '.join(self.quantizations)}; {quantize} have "
                + ", ".join(f.name for f in FORMATS.values() if quantize in f.quantizations),
            )
        if takes not in self.inputs:
            raise IncompatibleError(
                f"format {self.name} cannot take raw images: its graph has no such resize",
                hint="say --input tensor, or take "
                + ", ".join(f.name for f in FORMATS.values() if takes in f.inputs),
            )


_ALL = (
    Format(
        name="keras",
        file="model.keras",
        module="rezoo.exporters.keras_file",
        summary="Keras's own file, of Keras's own layers: opens without rezoo",
    ),
    Format(
        name="saved_model",
        file="saved_model.pb",
        module="rezoo.exporters.saved_model",
        summary="TensorFlow's SavedModel: TensorFlow Serving, TFX",
        inputs=INPUTS,
    ),
    Format(
        name="onnx",
        file="model.onnx",
        module="rezoo.exporters.onnx_file",
        summary="ONNX: onnxruntime and most others",
        quantizations=("none", "float16", "int8"),
        inputs=INPUTS,
        packages=("onnx", "onnxruntime"),
        install="pip install 'rezoo[onnx]'",
    ),
    Format(
        name="openvino",
        file="model.xml",
        module="rezoo.exporters.openvino_file",
        summary="OpenVINO: Intel's and ARM's processors",
        quantizations=("none", "float16", "int8"),
        inputs=INPUTS,
        packages=("openvino", "onnx", "onnxruntime"),
        install="pip install 'rezoo[openvino]'",
    ),
    Format(
        name="litert",
        file="model.tflite",
        module="rezoo.exporters.litert",
        summary="LiteRT (TensorFlow Lite): phones and small boards",
        quantizations=QUANTIZATIONS,
        packages=("ai_edge_litert",),
        install="pip install 'rezoo[litert]'",
    ),
    Format(
        name="stablehlo",
        file="model.stablehlo",
        module="rezoo.exporters.stablehlo",
        summary="StableHLO of jax.export: JAX, IREE and other XLA compilers",
        packages=("jax",),
        install="pip install 'rezoo[jax]'",
    ),
    Format(
        name="torch",
        file="model.safetensors",
        module="rezoo.exporters.torch_folder",
        summary="a folder that timm.create_model('local-dir:…') loads",
        packages=("torch", "timm"),
        install="pip install torch torchvision timm",
    ),
)
FORMATS: dict[str, Format] = {kind.name: kind for kind in _ALL}


def get_format(name: str) -> Format:
    """Return a format by its name.

    Raises:
        UnknownNameError: There is none of that name.
    """
    if name not in FORMATS:
        raise UnknownNameError(
            f"no format {name!r}", hint=suggest(name, FORMATS, "the formats are")
        )
    return FORMATS[name]
