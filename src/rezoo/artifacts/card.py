"""The model card of a run: a README that says what the network is and how it was made.

It is written from the run's own records and from nothing else, so it claims nothing that
the folder does not show. Text from data and users (class names, paths) is escaped: it can
end no table, begin no link and run no template.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rezoo.artifacts import card_figures, run_files
from rezoo.artifacts.config import WEIGHTS, read_config
from rezoo.errors import IntegrityError, RezooError, UnknownNameError
from rezoo.registry import architectures
from rezoo.specs import ModelConfig
from rezoo.tasks import task_of
from rezoo.utils.markdown import code, plain, table

# Ember, Global Electricity Review 2025: the world's average of 2024
_G_CO2_PER_KWH = 473
_HUB = "https://huggingface.co"
MARK = "<!-- written by rezoo from the records in this folder -->"


def model_card(folder: Path, *, repo: str = "", licence: str = "") -> str:
    """Return the card of a run folder as Markdown with the Hub's metadata in front.

    Args:
        folder: A run folder.
        repo: `owner/name` that it is pushed to; a path stands there where it is not known.
        licence: Of these weights, as their owner states it; else that of the base weights.

    Raises:
        NotFoundError: The folder has no `config.json`.
        IntegrityError: A record is damaged.
    """
    try:
        return _card(folder, repo, licence)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, RezooError):
            raise
        raise IntegrityError(
            f"the records in {folder} are damaged: {type(error).__name__} {error}",
            hint=f"rezoo verify {folder} shows which file was changed.",
        ) from error


def _card(folder: Path, repo: str, licence: str) -> str:
    import yaml

    config = read_config(folder)
    task = task_of(config.multi_label)
    metrics = run_files.read_metrics(folder)
    licence = licence or config.licence or (config.base.licence if config.base else "")
    head = _head(config, metrics, licence, name=repo.partition("/")[2] or config.architecture)
    front = yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=1000)
    parts = [
        f"---\n{front}---\n{MARK}\n",
        _what(config, metrics, licence),
        _use(config, f"hf://{repo}" if repo else "path/to/this/folder"),
        card_figures.measured(task, metrics, config.num_classes),
        card_figures.worst(task, metrics),
        _data(metrics),
        _preprocessing(config),
        _training(folder, metrics),
        _limits(config, metrics),
        _proof(folder, f"hf://{repo}" if repo else "path/to/this/folder"),
    ]
    return "\n".join(part for part in parts if part)


def _head(
    config: ModelConfig, metrics: Mapping[str, Any], licence: str, *, name: str
) -> dict[str, Any]:
    data, task = metrics.get("data", {}), task_of(config.multi_label)
    public = not data.get("private", True)
    head: dict[str, Any] = {
        "library_name": "rezoo",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "keras", "tensorflow", "resnet", "rezoo"],
        "metrics": list(dict.fromkeys(figure.hub_type for figure in task.figures)),
    }
    if licence:
        head["license"] = licence.lower()
    if public:
        head["datasets"] = [data.get("hub_id") or data["name"]]
    if config.base and config.base.repo:
        head["base_model"] = config.base.repo
        head["base_model_relation"] = "finetune"
    results = [
        card_figures.hub_result(task, metrics, split)
        for split in ("test", "val")
        if split in metrics
    ]
    if results and public:
        head["model-index"] = [{"name": name, "results": results}]
    return head


def _what(config: ModelConfig, metrics: Mapping[str, Any], licence: str) -> str:
    data = _data_name(metrics)
    title = f"# {plain(config.architecture)}" + (f" on {data}" if data else "")
    base = ""
    if config.base and config.base.repo:
        page = f"{_HUB}/{config.base.repo}/tree/{config.base.commit}"
        base = f" It started from [{plain(config.base.repo)}]({page})."
    elif config.base:
        base = f" It started from {plain(config.base)}."
    try:
        source = architectures.get(config.architecture).source
    except UnknownNameError:
        source = ""
    network = f" ({plain(source)})" if source else ""
    names = ", ".join(plain(config.label(i)) for i in range(min(config.num_classes, 100)))
    known = bool(config.class_names)
    more = f" … {config.num_classes - 100} more" if config.num_classes > 100 else ""
    classes = f"\n\n<details><summary>The classes</summary>\n\n{names}{more}\n\n</details>"
    terms = licence or "not stated: ask the owner before you use the weights"
    trained = ", trained with rezoo" if metrics else ""
    does = task_of(config.multi_label).does.format(config.num_classes)
    return (
        f"{title}\n\nA {plain(config.architecture)}{network} that {does}{trained}.{base}\n\n"
        f"Licence of the weights: {plain(terms)}."
        f"{classes if known else ''}\n"
    )


def _use(config: ModelConfig, reference: str) -> str:
    text = f"""## Use

```python
import rezoo
model = rezoo.load("{reference}")  # a keras.Model that gives logits
print(rezoo.predict("{reference}", "photo.jpg"))
```
"""
    try:
        in_timm = architectures.get(config.architecture).in_timm
    except UnknownNameError:
        in_timm = False
    if not in_timm:
        return (
            f"{text}\ntimm has no {plain(config.architecture)}: the weights load in rezoo only.\n"
        )
    place = (
        reference.replace("hf://", "hf-hub:") if "hf://" in reference else f"local-dir:{reference}"
    )
    return f"""{text}
With timm, the same weights and the same preprocessing:

```python
import timm
model = timm.create_model("{place}", pretrained=True)
```
"""


def _data(metrics: Mapping[str, Any]) -> str:
    data = metrics.get("data")
    if not data:
        return ""
    images = ", ".join(f"{count:,} {split}" for split, count in metrics["images"].items())
    return (
        f"## Data\n\n{_data_name(metrics)}, {images} images. "
        f"Licence of the data: {plain(data['licence'])}.\n"
    )


def _data_name(metrics: Mapping[str, Any]) -> str:
    data = metrics.get("data", {})
    if not data:
        return ""
    return "Photographs that are not public" if data.get("private") else plain(data["name"])


def _preprocessing(config: ModelConfig) -> str:
    pre = config.preprocessing.for_test()
    height, width = pre.size
    mean, std = (", ".join(f"{v:g}" for v in values) for values in (pre.mean, pre.std))
    return (
        f"## Preprocessing\n\n{'Grey' if pre.channels == 1 else 'RGB'}, {height}x{width} pixels: "
        f"the shorter side is resized to {int(min(pre.size) / pre.crop_pct)} ({pre.interpolation}, "
        "antialiased), the centre is cropped, values are divided by 255, the mean "
        f"({mean}) is subtracted and divided by the standard deviation ({std}). "
        "`config.json` has it for programs.\n"
    )


def _training(folder: Path, metrics: Mapping[str, Any]) -> str:
    recipe = run_files.read_recipe_of_run(folder)
    if not recipe:
        return ""
    environment = run_files.read_environment(folder)
    hours = metrics.get("wall_time_s", 0.0) / 3600
    devices = ", ".join(plain(d) for d in environment.get("devices", []))
    packages = ", ".join(f"{k} {v}" for k, v in environment.get("packages", {}).items())
    rows = [[code(key), code(value)] for key, value in recipe.items()]
    kwh = hours * 0.1
    drawn = ", `curves.svg` draws them" if (folder / run_files.CURVES).is_file() else ""
    epochs = sum(line.get("epoch") != "0" for line in run_files.read_history(folder))
    return f"""## Training

{hours * 60:.1f} minutes on {devices or "an unknown device"}, {environment.get("cpus", "?")} CPU
cores; {plain(packages)}. `history.csv` has all {epochs} epochs{drawn}.

Energy was not measured. Each 100 W that the machine draws are {kwh:.3g} kWh for this run, about
{kwh * _G_CO2_PER_KWH:.2g} g of CO2 at the world's average, {_G_CO2_PER_KWH} g/kWh (Ember, 2024).

<details><summary>The recipe in full (<code>recipe.toml</code>)</summary>

{table(["key", "value"], rows)}

</details>
"""


def _limits(config: ModelConfig, metrics: Mapping[str, Any]) -> str:
    measured = (
        "The accuracies hold for images like those it was measured on; other cameras, crops, "
        "places and times were not tried."
    )
    others, values = task_of(config.multi_label).limits
    lines = [
        f"It knows its {config.num_classes} classes: {others}",
        measured if metrics else "No accuracy of these weights is recorded here.",
        values,
        "Whether it serves all groups of people, where there are any, was not examined.",
    ]
    count = metrics.get("test", metrics.get("val", {})).get("count", 0)
    if 0 < count < 1000:
        lines.insert(1, f"It was measured on {count} images: mind the interval.")
    if config.base and "in1k" in f"{config.base.repo}{config.tag}":
        lines.append("The base weights were trained on ImageNet, whose terms allow research use.")
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines) + "\n"


def _proof(folder: Path, reference: str) -> str:
    if not (folder / WEIGHTS).is_file():
        return ""
    return f"""## Check it

`config.json` holds the SHA-256 of every file, and `reference.safetensors` a batch of images with
the logits that these weights gave. This command compares them with what you have:

```console
$ rezoo verify {reference}
```
"""
