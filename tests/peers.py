"""timm without torchvision: what it imports from there is never used by these tests."""

import importlib.util
import sys
import types

import pytest

_TORCHVISION = (
    "torchvision",
    "torchvision.transforms",
    "torchvision.transforms.functional",
    "torchvision.datasets",
    "torchvision.ops",
    "torchvision.ops.misc",
    "torchvision.models",
    "torchvision.models.feature_extraction",
)


def import_timm():
    """Return timm, or skip where it or torch is not installed."""
    pytest.importorskip("torch", reason="torch is a development dependency: parity only")
    if "timm" not in sys.modules and importlib.util.find_spec("torchvision") is None:
        for name in _TORCHVISION:
            sys.modules[name] = module = _Stub(name)
            parent, _, child = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], child, module)
    return pytest.importorskip("timm", reason="timm is a development dependency: parity only")


class _AnyAttribute(type):
    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class _Stub(types.ModuleType):
    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _AnyAttribute(name, (), {})
