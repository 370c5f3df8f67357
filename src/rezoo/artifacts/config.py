"""Convert between `config.json`, in timm's layout, and `ModelConfig`.

rezoo's own keys are at the root, where timm ignores unknown keys:

| key              | meaning                                                            |
|------------------|--------------------------------------------------------------------|
| `format_version` | of this table; a version higher than rezoo's is refused            |
| `rezoo_version`  | version of rezoo that wrote the file                               |
| `fingerprint`    | of the network's structure (`rezoo.models.fingerprint`)            |
| `multi_label`    | true if an image has any number of the classes                     |
| `base_model`     | origin of the weights that training started from                   |
| `calibration`    | temperature and threshold for "unknown" (`rezoo.confidence`)       |
| `files`          | the manifest: name → SHA-256 and size of the other files           |
| `checksum`       | SHA-256 of the content of `config.json` without this key           |
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from rezoo.confidence import Calibration
from rezoo.errors import IncompatibleError, NotFoundError, SpecError, UnsafeFileError
from rezoo.models.timm_arguments import check_network
from rezoo.specs import ModelConfig, Origin, Preprocessing
from rezoo.utils.documents import number, numbers, read_document, triple, typed
from rezoo.utils.files import FileRecord
from rezoo.utils.names import listed
from rezoo.utils.schemas import Schema, conform, text
from rezoo.utils.timm_names import OLD_NAMES

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
FORMAT_VERSION = 1

_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,100}")
OWN = (  # rezoo's keys, as in the table above
    *("format_version", "rezoo_version", "fingerprint", "multi_label", "base_model"),
    *("calibration", "files", "checksum"),
)
# The known keys; others are kept in `extra` and `extra_cfg`.
_COMMON = ("architecture", "num_classes", "label_names", "labels", "label_descriptions")
_ROOT = (
    *_COMMON,
    *("num_features", "global_pool", "model_args", "pretrained_cfg"),
    *OWN,
)
_CFG = (
    *_COMMON,
    *("input_size", "test_input_size", "crop_pct", "test_crop_pct", "crop_mode"),
    *("interpolation", "mean", "std", "tag", "license", "pool_size"),
    # other sources of weights: never used
    *("url", "file", "hf_hub_id", "hf_hub_filename", "source", "state_dict"),
)


def read_config(folder: Path) -> ModelConfig:
    """Read the `config.json` of a folder.

    Raises:
        NotFoundError: The folder or its `config.json` is missing.
        IntegrityError: The file is not valid JSON, or too large.
        IncompatibleError: A key is missing or has a value that is not allowed.
    """
    content = read_json(folder)
    try:
        return config_from_json(content)
    except (SpecError, IncompatibleError) as error:
        raise IncompatibleError(f"{folder / CONFIG}: {error}", hint=error.hint) from error


def read_json(folder: Path) -> dict[str, Any]:
    """Return the parsed `config.json` of a folder; raises as `read_config` does."""
    path = folder / CONFIG
    if not os.path.isdir(folder):
        raise NotFoundError(
            f"no such folder: {folder}", hint="check the path; rezoo list shows the architectures."
        )
    if not os.path.isfile(path):
        hint = f"a folder with {CONFIG} and {WEIGHTS} is needed, as timm and rezoo write them."
        if inside := sorted(str(found.parent) for found in folder.glob(f"*/{CONFIG}")):
            hint = f"name one of the folders in it: {listed(inside, 3)}."
        raise NotFoundError(f"{folder} has no {CONFIG}", hint=hint)
    return read_document(path)


def config_from_json(content: Any) -> ModelConfig:
    """Read the parsed JSON of a `config.json`; raises `IncompatibleError` and `SpecError`.

    Both of timm's forms are read: with `pretrained_cfg`, and the old flat one. Unknown keys
    are kept in `extra` and `extra_cfg` and have no effect.
    """
    if not isinstance(content, dict):
        raise IncompatibleError("the root must be an object")
    _check_version(content)
    cfg = content.get("pretrained_cfg", content)
    if not isinstance(cfg, dict):
        raise IncompatibleError("pretrained_cfg must be an object")
    if not isinstance(cfg.get("custom_load"), bool | None):  # true has no effect, as in timm
        raise IncompatibleError("custom_load names a loader: rezoo runs no code of a repository")
    _explain_other_formats(content)
    architecture = typed(content, "architecture", str)
    architecture = OLD_NAMES.get(architecture, architecture).partition(".")[0]
    num_classes = typed(content if "num_classes" in content else cfg, "num_classes", int)
    tag = typed(cfg, "tag", str, "")
    preprocessing = _preprocessing(cfg)
    check_network(
        architecture, content, cfg, num_classes=num_classes, channels=preprocessing.channels
    )
    names, descriptions = _labels(content)
    if not names and num_classes == 1000 and tag.endswith("in1k"):
        names, descriptions = imagenet1k_classes()
    return ModelConfig(
        architecture=architecture,
        num_classes=num_classes,
        preprocessing=preprocessing,
        class_names=names,
        class_descriptions=descriptions,
        multi_label=typed(content, "multi_label", bool, False),
        tag=tag,
        licence=typed(cfg, "license", str, ""),
        base=_base(content),
        calibration=None if (c := content.get("calibration")) is None else Calibration.from_json(c),
        fingerprint=typed(content, "fingerprint", str, ""),
        files=_files(content),
        extra={k: v for k, v in content.items() if cfg is not content and k not in _ROOT},
        extra_cfg={k: v for k, v in cfg.items() if k not in _CFG},
    )


def config_to_json(
    config: ModelConfig, *, first_conv: str = "conv1", classifier: str = "fc"
) -> dict[str, Any]:
    """Return the JSON of a `config.json` that timm and rezoo both read.

    timm adapts `first_conv` to other channels and replaces `classifier` for other classes. rezoo's
    own keys are at the root only: timm fails on unknown ones in `pretrained_cfg`.
    """
    pre, classes = config.preprocessing, config.num_classes
    pretrained_cfg = {
        **config.extra_cfg,
        "tag": config.tag,
        "custom_load": False,
        "input_size": list(pre.input_size),
        "fixed_input_size": False,
        "interpolation": pre.interpolation,
        "crop_pct": pre.crop_pct,
        "crop_mode": pre.crop_mode,
        "mean": list(pre.mean),
        "std": list(pre.std),
        "num_classes": classes,
        "pool_size": [max(1, -(-side // 32)) for side in pre.size],
        "first_conv": first_conv,
        "classifier": classifier,
        **_given(test_input_size=list(pre.test_input_size or ())),
        **_given(test_crop_pct=pre.test_crop_pct, license=config.licence),
    }
    descriptions = dict(zip(config.class_names, config.class_descriptions, strict=False))
    base = dataclasses.asdict(config.base) if config.base else {}
    calibration = config.calibration.to_json() if config.calibration else {}
    return {
        **config.extra,
        "architecture": config.architecture,
        "num_classes": classes,
        "global_pool": "avg",
        "model_args": {"in_chans": pre.channels, "num_classes": classes, "global_pool": "avg"},
        **_given(label_names=list(config.class_names), label_descriptions=descriptions),
        "pretrained_cfg": pretrained_cfg,
        "format_version": FORMAT_VERSION,
        "rezoo_version": version("rezoo"),
        **_given(fingerprint=config.fingerprint, multi_label=config.multi_label),
        **_given(base_model=_given(**base), calibration=calibration),
    }


def _given(**values: Any) -> dict[str, Any]:
    """Return the values that are neither empty, zero nor None."""
    return {key: value for key, value in values.items() if value}


def _check_version(content: Mapping[str, Any]) -> None:
    found = typed(content, "format_version", int, FORMAT_VERSION)
    if found > FORMAT_VERSION:
        raise IncompatibleError(
            f"format_version {found}, written by rezoo {content.get('rezoo_version', '?')}; "
            f"this is rezoo {version('rezoo')}, which reads up to {FORMAT_VERSION}",
            hint="pip install --upgrade rezoo",
        )


def _explain_other_formats(content: Mapping[str, Any]) -> None:
    """Name the library of a foreign `config.json`, instead of the key that is missing."""
    if "architecture" in content:
        return
    if "registered_name" in content:
        what = "Keras or KerasHub: rezoo runs no code that a file asks for"
    elif "model_type" in content:
        what = "transformers: its tensors have other names"
    else:
        return
    raise IncompatibleError(
        f"this is a model of {what}",
        hint="take a repository in timm's layout, such as hf://timm/resnet50.a1_in1k",
    )


@cache
def imagenet1k_classes() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the WordNet ids (`n01440764`) and the readable names (`tench`), 1000 of each."""
    text = files("rezoo.artifacts").joinpath("imagenet1k.tsv").read_text("utf-8")
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    ids, names = zip(*rows, strict=True)
    return ids, names


_ORIGIN: Schema = {
    "repo?": text(pattern=r"([\w.-]+/[\w.-]+)?", words="owner/name"),
    "commit?": text(pattern=r"([0-9a-f]{40})?", words="40 hexadecimal digits"),
    "sha256?": text(pattern=r"([0-9a-f]{64})?", words="64 hexadecimal digits"),
    "licence?": text(),
    "architecture?": text(),
}


def _base(content: Mapping[str, Any]) -> Origin | None:
    value = content.get("base_model")
    if value is None:
        return None
    conform(value, _ORIGIN, "base_model")
    known = {f.name for f in dataclasses.fields(Origin)}
    return Origin(**{k: v for k, v in value.items() if k in known})


def _files(content: Mapping[str, Any]) -> dict[str, FileRecord]:
    value = content.get("files")
    if value is None:
        return {}
    records = {}
    for name, entry in value.items() if isinstance(value, dict) else [("files", value)]:
        if not _FILE_NAME.fullmatch(name):
            raise UnsafeFileError(f"{CONFIG} lists {name!r}, which is not a plain file name")
        if not isinstance(entry, dict) or not isinstance(entry.get("size"), int):
            raise IncompatibleError(f"files: {name!r} must have a sha256 and a size")
        records[name] = FileRecord(str(entry.get("sha256")), entry["size"], f"its {CONFIG}")
    return records


def _preprocessing(cfg: Mapping[str, Any]) -> Preprocessing:
    default = Preprocessing()
    size = triple(cfg, "input_size") or default.input_size
    half = (0.5,) if size[0] == 1 else ()  # for grey images
    test_crop = cfg.get("test_crop_pct")
    return Preprocessing(
        input_size=size,
        crop_pct=number("crop_pct", cfg.get("crop_pct", default.crop_pct)),
        crop_mode=typed(cfg, "crop_mode", str, default.crop_mode),
        interpolation=typed(cfg, "interpolation", str, default.interpolation),
        mean=numbers(cfg, "mean") or half or default.mean,
        std=numbers(cfg, "std") or half or default.std,
        test_input_size=triple(cfg, "test_input_size"),
        test_crop_pct=None if test_crop is None else number("test_crop_pct", test_crop),
    )


def _labels(content: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    names = content.get("label_names", content.get("labels"))
    if names is None:
        return (), ()
    if isinstance(names, dict):
        raise IncompatibleError("label_names is a mapping with gaps; a list is needed")
    named, described = _names("label_names", names), content.get("label_descriptions")
    if isinstance(described, dict):
        described = [described.get(name, name) for name in named]
    return named, _names("label_descriptions", described or [])


def _names(key: str, values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(name, str) for name in values):
        raise IncompatibleError(f"{key} must be a list of texts")
    return tuple(values)
