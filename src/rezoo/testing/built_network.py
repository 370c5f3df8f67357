"""A network with random weights, which the checks of an architecture share."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rezoo import registry
from rezoo.specs import ModelSpec
from rezoo.testing.contract import BrokenContractError, Subject

if TYPE_CHECKING:
    import keras
    import numpy as np

CLASSES = 7
SIDE = 64  # of images, in pixels, where the network takes them
SAME = 1e-4  # difference of logits that rounding explains, relative to the largest


class BuiltNetwork(Subject):
    """An architecture, and its network with random weights, which all checks share."""

    kind = "architecture"
    group = "rezoo.architectures"

    @cached_property
    def spec(self) -> ModelSpec:
        """The registered spec."""
        return registry.architectures.get(self.name)

    @cached_property
    def side(self) -> int:
        """Height and width of the images: few pixels, or those of the spec if it needs them."""
        few = min(self.spec.image_size, SIDE)
        try:
            forward(self.model, noise(1, few, few, 3))
        except Exception:  # the libraries raise what they like
            return self.spec.image_size
        return few

    @cached_property
    def images(self) -> np.ndarray:
        """float32 `(2, side, side, 3)`."""
        return noise(2, self.side, self.side, 3)

    @cached_property
    def model(self) -> keras.Model:
        """The network for images of any size; no scale, shift or statistic is trivial."""
        model = self.create()
        vary(model)
        return model

    @cached_property
    def logits(self) -> np.ndarray:
        """Logits of the images."""
        return forward(self.model, self.images)

    def create(self, **options: Any) -> keras.Model:
        """Build the network with the random weights of seed 0."""
        from rezoo.models.factory import create_model
        from rezoo.training.network import seeded

        with seeded(0):
            return create_model(self.name, **{"num_classes": CLASSES, **options})

    def like_model(self, **options: Any) -> keras.Model:
        """Build the network again, with the weights of `model` where names and shapes agree."""
        from rezoo.models.factory import start_from_zeros
        from rezoo.models.tensors import named_variables

        model, given = start_from_zeros(lambda: self.create(**options)), self.model
        values = dict(named_variables(given))
        for name, variable in named_variables(model):
            if name in values and values[name].shape == variable.shape:
                variable.assign(values[name])
        return model

    @cached_property
    def folder(self) -> Path:
        """A folder with the weights, as a run has it."""
        from rezoo.artifacts.weights import save_model

        folder = self.scratch / self.name
        folder.mkdir()
        save_model(self.model, self.model.rezoo_config, folder)
        return folder


def noise(*shape: int) -> np.ndarray:
    """Return normally distributed float32, the same each time."""
    import numpy as np

    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def vary(model: keras.Model) -> None:
    """Change scales, shifts and statistics a little, and let the head read all features."""
    import numpy as np

    from rezoo.models.naming import head_of

    rng, head = np.random.default_rng(1), head_of(model)
    large = {id(v) for v in head.weights if len(v.shape) > 1} if head else set()
    for variable in model.weights:
        if id(variable) in large:
            spread = variable.shape[-2] ** -0.5
            variable.assign(rng.normal(0, spread, variable.shape).astype(np.float32))
        elif len(variable.shape) == 1 and variable.dtype == "float32":
            change = rng.uniform(-0.1, 0.1, variable.shape).astype(np.float32)
            variable.assign(variable + change)


def forward(model: keras.Model, images: np.ndarray, *, training: bool = False) -> np.ndarray:
    """Return the outputs for images `(N, H, W, C)`."""
    import keras

    return keras.ops.convert_to_numpy(model(images, training=training))


def difference(wanted: np.ndarray, found: np.ndarray) -> float:
    """Return the largest difference, relative to the largest wanted value."""
    import numpy as np

    if wanted.shape != found.shape:
        raise BrokenContractError(f"the shape is {found.shape}, not {wanted.shape}")
    return float(np.abs(wanted - found).max() / (np.abs(wanted).max() or 1.0))


def check_logits(what: str, logits: np.ndarray) -> None:
    """Refuse logits that are not float32 or not finite; `what` gave them."""
    import numpy as np

    if logits.dtype != np.float32:
        raise BrokenContractError(f"{what}: the logits are {logits.dtype}, not float32")
    if not np.isfinite(logits).all():
        raise BrokenContractError(f"{what}: a logit is not finite")
