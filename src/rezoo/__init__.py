"""A plugin model zoo of residual networks for Keras 3, each claim checkable by a command.

Public names are loaded when they are first used, so `import rezoo` costs nothing:
`list_models`, `list_weights`, `list_datasets`, `create_model`, `load`, `load_dataset`,
`DataOptions`, `train`, `evaluate`, `predict`, `export`, `benchmark`, `verify`, `push`, and the
exceptions of `rezoo.errors`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rezoo.benchmarking.running import benchmark as benchmark
    from rezoo.catalogue import list_weights as list_weights
    from rezoo.data.loading import list_datasets as list_datasets
    from rezoo.data.loading import load_dataset as load_dataset
    from rezoo.data.options import DataOptions as DataOptions
    from rezoo.errors import RezooError as RezooError
    from rezoo.evaluation.evaluate import evaluate as evaluate
    from rezoo.evaluation.predict import predict as predict
    from rezoo.exporters.export import export as export
    from rezoo.loading import load as load
    from rezoo.models.factory import create_model as create_model
    from rezoo.models.factory import list_models as list_models
    from rezoo.publishing.sending import push as push
    from rezoo.training.train import train as train
    from rezoo.verification import verify as verify

_WHERE = {
    "list_models": "rezoo.models.factory",
    "list_weights": "rezoo.catalogue",
    "list_datasets": "rezoo.data.loading",
    "create_model": "rezoo.models.factory",
    "load": "rezoo.loading",
    "load_dataset": "rezoo.data.loading",
    "DataOptions": "rezoo.data.options",
    "train": "rezoo.training.train",
    "evaluate": "rezoo.evaluation.evaluate",
    "predict": "rezoo.evaluation.predict",
    "export": "rezoo.exporters.export",
    "benchmark": "rezoo.benchmarking.running",
    "verify": "rezoo.verification",
    "push": "rezoo.publishing.sending",
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
