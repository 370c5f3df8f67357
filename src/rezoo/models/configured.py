"""The class of rezoo's networks: a functional model that keeps its `rezoo_config`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import keras

from rezoo.confidence import Calibration
from rezoo.specs import ModelConfig, Origin, Preprocessing
from rezoo.utils.files import FileRecord

if TYPE_CHECKING:
    from rezoo.models.feature_maps import FeatureInfo


@keras.saving.register_keras_serializable(package="rezoo")
class ConfiguredModel(keras.Model):
    """A functional model whose `rezoo_config` survives cloning, saving and loading.

    Attributes:
        rezoo_config: Preprocessing and class names; None if they are not known.
    """

    # Keras takes a class with this signature for a functional model
    def __init__(self, *args: Any, rezoo_config: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        carried = [getattr(tensor, "rezoo_config", None) for tensor in self.outputs]
        self.rezoo_config: ModelConfig | None = next(filter(None, carried), None)
        if rezoo_config:
            self.rezoo_config = _from_record(json.loads(rezoo_config))

    @property
    def feature_info(self) -> tuple[FeatureInfo, ...]:
        """The feature maps at the end of the stages: name, channels and stride of each."""
        from rezoo.models.feature_maps import feature_info

        return feature_info(self)

    def _run_through_graph(self, *args: Any, **kwargs: Any) -> Any:
        """Attach the configuration to symbolic outputs, of which `clone_model` makes a model."""
        outputs = super()._run_through_graph(*args, **kwargs)
        for tensor in keras.tree.flatten(outputs):
            if keras.utils.is_keras_tensor(tensor):
                tensor.rezoo_config = self.rezoo_config
        return outputs

    def get_config(self) -> dict[str, Any]:
        """Return the configuration of the functional model, and `rezoo_config` as JSON."""
        config = super().get_config()
        if self.rezoo_config:
            config["rezoo_config"] = json.dumps(_to_record(self.rezoo_config))
        return config


def with_config(model: keras.Model, config: ModelConfig | None) -> keras.Model:
    """Return a functional model with a configuration, as a `ConfiguredModel` of the same layers.

    A model of a class of its own is returned as it is, with the attribute.
    """
    if type(model).__module__.startswith("keras."):
        model = ConfiguredModel(model.input, model.output, name=model.name)
    model.rezoo_config = config
    return model


def _to_record(config: ModelConfig) -> dict[str, Any]:
    """Return the fields of a `ModelConfig` as JSON values."""
    calibration = config.calibration.to_json() if config.calibration else None
    return {**asdict(config), "calibration": calibration}


def _from_record(values: Mapping[str, Any]) -> ModelConfig:
    """Return a `ModelConfig` of its fields as JSON values."""
    pre, base = dict(values["preprocessing"]), values["base"]
    calibration = values.get("calibration")  # absent from models that an earlier version saved
    if pre["test_input_size"]:
        pre["test_input_size"] = tuple(pre["test_input_size"])
    names = {key: tuple(values[key]) for key in ("class_names", "class_descriptions")}
    parsed = {
        "preprocessing": Preprocessing(**pre),
        "base": Origin(**base) if base else None,
        "calibration": Calibration.from_json(calibration) if calibration else None,
        "files": {name: FileRecord(**record) for name, record in values["files"].items()},
    }
    return ModelConfig(**{**values, **names, **parsed})
