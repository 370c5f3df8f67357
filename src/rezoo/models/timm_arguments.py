"""Whether a `config.json` of timm asks for the network that rezoo builds under the same name.

timm builds the architecture of a folder with the arguments in `model_args`, so two folders of one
architecture can be different networks with tensors of the same names and shapes. Arguments of
`timm.models.resnet.ResNet` (timm 1.0.31), and likewise those of `timm.models.resnetv2.ResNetV2`:

| arguments                                                     | here                           |
|---------------------------------------------------------------|--------------------------------|
| `num_classes`, `in_chans`                                     | compared with the other keys   |
| `layers`, `channels`, `base_width`, `cardinality`,            | compared with the architecture |
| `stem_type`, `stem_width`, `replace_stem_pool`, `avg_down`,   |                                |
| `down_kernel_size`, `block_reduce_first`, `aa_layer`,         |                                |
| `norm_layer`, `block_args`                                    |                                |
| `global_pool`, `act_layer`, `output_stride`                   | the default only: rezoo builds |
|                                                               | no other                       |
| `drop_rate`, `drop_path_rate`, `drop_block_rate`,             | any value: no effect on the    |
| `zero_init_last`, `pretrained_strict`, `device`, `dtype`      | weights or on inference        |
| every other key                                               | refused                        |

Loads without Keras.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rezoo import registry
from rezoo.errors import IncompatibleError
from rezoo.specs import ModelSpec
from rezoo.utils.documents import short, typed

_NO_EFFECT = (
    *("drop_rate", "drop_path_rate", "drop_block_rate", "zero_init_last"),
    *("pretrained_strict", "device", "dtype"),
)
_AVERAGE = ("avg", "fast", "fastavg")  # timm's names of global average pooling
_BATCH_NORM = ("batchnorm", "batchnorm2d")
_NORMS_V2 = {  # of pre-activation networks; with standardized filters, the default
    "batch_norm": (*_BATCH_NORM, "batchnormact2d"),
    "group_norm": ("groupnormact", "groupnorm"),
    "evo_norm": ("evonorm2ds0",),
    "standardized": (),
}
_NORMS = {"batch": _BATCH_NORM, "group": ("groupnorm",)}
_ANTIALIASING = {"": (), "average": ("avg", "avgpool"), "blur": ("blur", "blurpool")}
_LAYER_NAMES = tuple(
    name
    for table in (_NORMS_V2, _NORMS, _ANTIALIASING)
    for names in table.values()
    for name in names
)


def check_network(
    architecture: str,
    content: Mapping[str, Any],
    cfg: Mapping[str, Any],
    *,
    num_classes: int,
    channels: int,
) -> None:
    """Check that timm builds, from a `config.json`, the network that rezoo builds.

    Args:
        architecture: Its name; nothing is checked if it is not registered.
        content: The JSON of the file.
        cfg: Its `pretrained_cfg`; `content` itself in timm's old form.
        num_classes: Width of the head by the other keys.
        channels: Channels of the images by the other keys.

    Raises:
        IncompatibleError: It is another network; all differences are named.
    """
    arguments = typed(content, "model_args", dict, {})
    if architecture not in registry.architectures.names():
        return  # its own error follows
    given = {k: v for k, v in arguments.items() if v is not None and k not in _NO_EFFECT}
    allowed: dict[str, tuple[Any, ...]] = {
        "num_classes": (num_classes,),
        "in_chans": (channels,),
        "global_pool": _AVERAGE,
    }
    if registry.architectures.find(architecture).builtin:
        allowed |= _allowed(registry.architectures.get(architecture))
    problems = dict.fromkeys(_problems(given, allowed))
    for pooling in (content.get("global_pool"), cfg.get("global_pool")):
        if pooling is not None and "global_pool" not in given and pooling not in _AVERAGE:
            problems[f"global_pool is {short(pooling)}, not 'avg'"] = None
    if offset := cfg.get("label_offset"):
        problems[f"label_offset is {short(offset)}, not 0"] = None
    if problems:
        raise IncompatibleError(
            f"this is not the {architecture} that rezoo builds: {'; '.join(problems)}",
            hint="nothing was loaded: its tensors may fit, and its logits would be wrong.",
        )


def _allowed(spec: ModelSpec) -> dict[str, tuple[Any, ...]]:
    """Return the values of each argument of timm's class that give the network of a spec.

    Empty if timm does not have the network.
    """
    config = spec.config
    if not spec.in_timm:
        return {}
    if "block" in config:
        return _allowed_v2(config)
    if "group_width" in config:
        return _allowed_regnet(config)
    if "blocks" not in config:
        return {}
    stem, widths = config.get("stem", ("plain", (64,)))
    shortcut, attention = config.get("shortcut", "projection"), config.get("attention")
    plain = {block for block, _ in config["blocks"]} <= {"basic", "bottleneck"}
    found: dict[str, tuple[Any, ...]] = {
        "global_pool": _AVERAGE,
        "act_layer": ("relu",),
        "output_stride": (32,),
        "layers": (list(config["depths"]),),
        "channels": ([width for _, width in config["blocks"]],),
        "cardinality": (config.get("groups", 1),),
        "base_width": (config.get("base_width", 64),),
        "block_reduce_first": (config.get("reduce_first", 1),),
        "avg_down": (shortcut == "pooled",),
        "replace_stem_pool": (config.get("pool") == "convolution",),
        "norm_layer": _NORMS[config.get("norm", "batch")],
        "aa_layer": _ANTIALIASING[config.get("antialias", "")],
        "block_args": ({"attn_layer": attention} if attention else {},) if plain else (),
    }
    if shortcut != "pooled":
        found["down_kernel_size"] = (1 if isinstance(shortcut, str) else shortcut[1]["kernel"],)
    if stem == "deep":
        tiered = widths[0] != widths[1]
        found |= {"stem_type": ("deep_tiered" if tiered else "deep",), "stem_width": (widths[1],)}
    else:
        found["stem_type"] = ("",)
    return found


def _allowed_v2(config: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Return the same for a pre-activation network and `timm.models.resnetv2.ResNetV2`."""
    stem, widths = config.get("stem", ("plain", (64,)))
    kinds = {"plain": "fixed" if config.get("pool") == "zero_padded_max" else "", "deep": "deep"}
    factor = widths[-1] // 64
    return {
        "layers": (list(config["depths"]),),
        "channels": ([width // factor for width in config["widths"]],),
        "width_factor": (factor,),
        "stem_chs": (64,),
        "stem_type": ("tiered" if stem == "deep" and widths[0] != widths[1] else kinds[stem],),
        "avg_down": (config.get("shortcut") == "pooled",),
        "basic": (config["block"] == "basic",),
        "bottle_ratio": (1.0 if config["block"] == "basic" else 0.25,),
        "preact": (True,),
        "output_stride": (32,),
        "global_pool": _AVERAGE,
        "act_layer": ("relu",),
        "norm_layer": _NORMS_V2[config.get("parts", "batch_norm")],
        "conv_layer": (),
    }


def _allowed_regnet(config: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Return the same for a RegNet and `timm.models.regnet.RegNetCfg`."""
    return {
        "depth": (config["depth"],),
        "w0": (config["w_0"],),
        "wa": (config["w_a"],),
        "wm": (config["w_m"],),
        "group_size": (config["group_width"],),
        "se_ratio": (config.get("se_ratio", 0.0),),
        "output_stride": (32,),
        "global_pool": _AVERAGE,
        "act_layer": ("relu",),
        "norm_layer": _BATCH_NORM,
    }


def _problems(given: Mapping[str, Any], allowed: Mapping[str, tuple[Any, ...]]) -> Iterator[str]:
    # without a deep stem timm ignores `stem_width`, with pooled shortcuts `down_kernel_size`
    ignored = {"stem_width", "down_kernel_size"} if "layers" in allowed else set()
    for key, value in given.items():
        if key in allowed:
            if not any(_equal(value, wanted) for wanted in allowed[key]):
                built = f", not {allowed[key][0]!r}" if allowed[key] else ""
                yield f"{key} is {short(value)}{built}"
        elif key not in ignored:
            yield f"{key} is {short(value)}, a key that rezoo does not know"


def _equal(value: Any, wanted: Any) -> bool:
    """Return whether two JSON values are equal; names of layers without regard to case and `_`."""
    if isinstance(value, bool) is not isinstance(wanted, bool):
        return False
    if wanted in _LAYER_NAMES and isinstance(value, str):
        value = value.replace("_", "").lower()
    return bool(value == wanted)
