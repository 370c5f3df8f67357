"""A plugin model zoo of residual networks for Keras 3, each claim checkable by a command.

Public names are loaded when they are first used, so `import rezoo` costs nothing:
`list_models`, `list_weights`, `list_datasets`, `create_model`, `load`, `load_dataset`,
`DataOptions`, `train`, `evaluate`, `compare`, `calibrate`, `measure_corruptions`,
`measure_lesions`, `predict`, `features`, `preprocess`, `activation_map`, `export`, `benchmark`,
`verify`, `push`, and the exceptions of `rezoo.errors`.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rezoo.benchmarking.benchmark import benchmark
    from rezoo.benchmarking.compare import compare
    from rezoo.data.dataset_references import list_datasets
    from rezoo.data.datasets import DataOptions, load_dataset
    from rezoo.errors import RezooError
    from rezoo.evaluation.calibrating.calibration import calibrate
    from rezoo.evaluation.damage.lesions import measure_lesions
    from rezoo.evaluation.damage.robustness import measure_corruptions
    from rezoo.evaluation.evaluate import evaluate
    from rezoo.evaluation.explaining.activation_maps import activation_map
    from rezoo.evaluation.extracting import features
    from rezoo.evaluation.pictures import preprocess
    from rezoo.evaluation.predict import predict
    from rezoo.exporters.export import export
    from rezoo.models.factory import create_model
    from rezoo.publishing.push import push
    from rezoo.publishing.verify import verify
    from rezoo.sources.catalogue import list_weights
    from rezoo.sources.load import load
    from rezoo.sources.selection import list_models
    from rezoo.training.train import train

_WHERE = {
    "list_models": "rezoo.sources.selection",
    "list_weights": "rezoo.sources.catalogue",
    "list_datasets": "rezoo.data.dataset_references",
    "create_model": "rezoo.models.factory",
    "load": "rezoo.sources.load",
    "load_dataset": "rezoo.data.datasets",
    "DataOptions": "rezoo.data.datasets",
    "train": "rezoo.training.train",
    "evaluate": "rezoo.evaluation.evaluate",
    "compare": "rezoo.benchmarking.compare",
    "calibrate": "rezoo.evaluation.calibrating.calibration",
    "measure_corruptions": "rezoo.evaluation.damage.robustness",
    "measure_lesions": "rezoo.evaluation.damage.lesions",
    "activation_map": "rezoo.evaluation.explaining.activation_maps",
    "predict": "rezoo.evaluation.predict",
    "features": "rezoo.evaluation.extracting",
    "preprocess": "rezoo.evaluation.pictures",
    "export": "rezoo.exporters.export",
    "benchmark": "rezoo.benchmarking.benchmark",
    "verify": "rezoo.publishing.verify",
    "push": "rezoo.publishing.push",
    "RezooError": "rezoo.errors",
}
__all__ = [*_WHERE, "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("rezoo")
    if name in _WHERE:
        value = getattr(import_module(_WHERE[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _WithKeras:
    """Registers rezoo's layers with `keras.saving` as soon as the program imports Keras.

    `keras.saving.load_model` then opens a saved network after `import rezoo` alone.
    """

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return the spec of the package `keras` with a loader that registers; else None."""
        found = PathFinder.find_spec(name, path) if name == "keras" else None
        if found is None or found.loader is None:
            return None
        execute = found.loader.exec_module

        def exec_module(module: Any) -> None:
            execute(module)
            sys.meta_path.remove(cls)
            _register_layers()

        found.loader.exec_module = exec_module  # type: ignore[method-assign]
        return found


def _register_layers() -> None:
    for name in (
        "channel_parts", "configured", "drop_path", "norms", "preactivation_layers", "primitives",
    ):  # fmt: skip
        import_module(f"rezoo.models.{name}")


if "keras" in sys.modules:
    _register_layers()
else:
    sys.meta_path.insert(0, _WithKeras)
