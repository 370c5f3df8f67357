"""ConvNeXt: "A ConvNet for the 2020s", arXiv:2201.03545, as a plugin of rezoo.

A ResNet with the habits of a transformer (section 2): depthwise 7x7 convolutions, layer
normalization in place of batch normalization, one GELU a block, an inverted bottleneck, separate
layers for subsampling. Layers are named as in timm, so that its weights fit.

| name           | blocks per stage | widths               |  parameters | MACs at 224 px |
|----------------|------------------|----------------------|-------------|----------------|
| convnext_tiny  | 3, 3, 9, 3       | 96, 192, 384, 768    |  28,589,128 |  4,455,531,264 |
| convnext_small | 3, 3, 27, 3      | 96, 192, 384, 768    |  50,223,688 |  8,683,712,256 |
| convnext_base  | 3, 3, 27, 3      | 128, 256, 512, 1024  |  88,591,464 | 15,354,729,472 |
| convnext_large | 3, 3, 27, 3      | 192, 384, 768, 1536  | 197,767,336 | 34,361,433,600 |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rezoo.specs import ModelSpec

if TYPE_CHECKING:
    import keras

    from rezoo.models.drop_path import DropPath


# --8<-- [start:network]
def build(
    *,
    name: str,
    input_shape: tuple[int | None, int | None, int],
    num_classes: int,
    classifier_activation: str | None,
    depths: tuple[int, ...],
    widths: tuple[int, ...],
    stochastic_depth: float = 0.0,
    seed: int = 0,
) -> keras.Model:
    """Build a member of the family (figure 4 and table 9); for the arguments see `ModelSpec`."""
    import keras

    from rezoo.models import layers
    from rezoo.models.drop_path import drop_paths

    drops = iter(drop_paths(stochastic_depth, blocks=sum(depths), seed=seed))
    inputs = keras.Input(input_shape, name="image")
    x = _norm(_conv(inputs, widths[0], 4, stride=4, name="stem.0"), name="stem.1")
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        if stage > 0:
            x = _norm(x, name=f"stages.{stage}.downsample.0")
            x = _conv(x, width, 2, stride=2, name=f"stages.{stage}.downsample.1")
        for block in range(depth):
            x = _block(x, next(drops), name=f"stages.{stage}.blocks.{block}")
    outputs = layers.classifier(
        x, num_classes, activation=classifier_activation, norm=_norm, name="head.fc"
    )
    return keras.Model(inputs, outputs, name=name)


def _block(x: Any, drop_path: DropPath | None, *, name: str) -> Any:
    """Mix positions, then channels, and add the input: `(N, H, W, C)` to the same shape."""
    import keras

    from rezoo.models.drop_path import add
    from rezoo.models.primitives import LayerScale

    width = x.shape[-1]
    y = _norm(_conv(x, width, 7, groups=width, name=f"{name}.conv_dw"), name=f"{name}.norm")
    y = _dense(y, 4 * width, name=f"{name}.mlp.fc1")
    y = keras.layers.Activation("gelu", name=f"{name}.mlp.act")(y)
    y = _dense(y, width, name=f"{name}.mlp.fc2")
    return add(LayerScale(1e-6, name=name)(y), x, drop_path, name=f"{name}.add")


# --8<-- [end:network]
def _conv(x: Any, filters: int, kernel: int, *, stride: int = 1, groups: int = 1, name: str) -> Any:
    from rezoo.models.primitives import Conv2D

    options = {"groups": groups, "kernel_initializer": _start(), "name": name}
    padding = "same" if stride == 1 else "valid"
    return Conv2D(filters, kernel, strides=stride, padding=padding, **options)(x)


def _dense(x: Any, units: int, *, name: str) -> Any:
    import keras

    return keras.layers.Dense(units, kernel_initializer=_start(), name=name)(x)


def _norm(x: Any, *, name: str) -> Any:
    import keras

    return keras.layers.LayerNormalization(epsilon=1e-6, name=name)(x)


def _start() -> Any:
    import keras

    return keras.initializers.TruncatedNormal(stddev=0.02)


def _spec(name: str, depths: tuple[int, ...], width: int, *, params: int, macs: int) -> ModelSpec:
    return ModelSpec(
        name=f"convnext_{name}",
        build=build,
        config={"depths": depths, "widths": tuple(width * 2**stage for stage in range(4))},
        family="convnext",
        summary=f"{sum(depths)} blocks, {width} to {8 * width} channels",
        source="Liu et al. 2022, arXiv:2201.03545, section 3",
        params=params,
        macs=macs,
        in_timm=True,
    )


convnext_tiny = _spec("tiny", (3, 3, 9, 3), 96, params=28_589_128, macs=4_455_531_264)
convnext_small = _spec("small", (3, 3, 27, 3), 96, params=50_223_688, macs=8_683_712_256)
convnext_base = _spec("base", (3, 3, 27, 3), 128, params=88_591_464, macs=15_354_729_472)
convnext_large = _spec("large", (3, 3, 27, 3), 192, params=197_767_336, macs=34_361_433_600)
