"""timm without torchvision: what it imports from there is never used by these tests."""

import copy
import importlib.machinery
import importlib.util
import sys
import types

import numpy as np
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

ROUNDINGS = 3


def import_timm():
    """Return timm, or skip where it or torch is not installed."""
    pytest.importorskip("torch", reason="torch is a development dependency: parity only")
    if "timm" not in sys.modules and importlib.util.find_spec("torchvision") is None:
        for name in _TORCHVISION:
            sys.modules[name] = module = _Stub(name)
            module.__spec__ = importlib.machinery.ModuleSpec(name, None)  # others look for it
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


def timm_network(name, **arguments):
    """Return a timm network; `resnet50_v1`, which timm has not, is resnet50 with moved strides."""
    model = import_timm().create_model(name.removesuffix("_v1"), **arguments)
    if name.endswith("_v1"):
        for stage in (model.layer2, model.layer3, model.layer4):
            stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    return model


def torch_twin(name):
    """Return timm's network with random weights and statistics that are not trivial."""
    import torch

    torch.manual_seed(0)
    model = timm_network(name, num_classes=10)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2.0)
        if "Norm" in type(module).__name__ and hasattr(module, "bias"):  # not ConvNormAct
            for parameter in module.parameters(recurse=False):  # the weight, and EvoNorm's v
                torch.nn.init.uniform_(parameter, 0.5, 1.0)
            torch.nn.init.uniform_(module.bias, -0.2, 0.2)
    return model.eval()


def logits_of(model, images):
    """Return the logits of NHWC images as NumPy, from a network of either framework."""
    import keras  # here: benchmarks run timm in processes without it

    if isinstance(model, keras.Model):
        # called eagerly, Keras keeps all that layers give: 150 MB an image of ResNet-50
        parts = (images[i : i + 16] for i in range(0, len(images), 16))
        logits = [keras.ops.convert_to_numpy(model(part, training=False)) for part in parts]
        return np.concatenate(logits)
    import torch

    with torch.no_grad():
        return model(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()


def rounding(twin, images):
    """Return how far torch in float32 is from torch in float64, of the largest logit.

    Standardized filters of mean 0 cancel the mean of features that are not negative, so rounding
    shows: for `resnetv2_101x1_bit` it is 1e-5. Logits may differ by `ROUNDINGS` times as much.
    """
    rough = logits_of(twin, images)
    exact = logits_of(copy.deepcopy(twin).double(), images.astype(np.float64))
    return np.abs(rough - exact).max() / np.abs(exact).max()
