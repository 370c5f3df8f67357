"""`evaluate`: the scores of a network on a split of a dataset."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import keras
import numpy as np

from rezoo.data.corners import five_crops
from rezoo.data.datasets import DataOptions
from rezoo.data.resize import resized_crop
from rezoo.evaluation.averaging import TEN_CROP, WORDS, averaged, require_known
from rezoo.evaluation.forward import compiled_forward, network_of
from rezoo.evaluation.predictions import Predictions, collect
from rezoo.evaluation.recording import compare_with_run
from rezoo.evaluation.result import Evaluation
from rezoo.evaluation.scoring.measured import undefined
from rezoo.evaluation.setting import AnyData, Setting, setting_of
from rezoo.models.devices import Devices
from rezoo.sources.any_model import AnyModel
from rezoo.specs import Origin
from rezoo.utils.gpu_faults import warn_of_gpu_faults


def evaluate(
    model: AnyModel,
    dataset: AnyData = None,
    *,
    pretrained: bool = False,
    split: str = "test",
    batch_size: int = 32,
    image_size: int | None = None,
    crop_mode: str | None = None,
    tta: str | None = None,
    devices: int | str | None = None,
    hosts: str | None = None,
    options: DataOptions = DataOptions(),  # noqa: B008 - it is frozen
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Measure a network on a split of a dataset, with the preprocessing of its weights.

    Args:
        model: A reference with weights, a run of `train`, or a model of rezoo.
        dataset: A dataset reference or an opened dataset; its classes must be among those of the
            network. `(images, labels)`: uint8 `(N, H, W, C)`, and the index or the name of the
            class of each, `(N,)`; for a multi-label network zeros and ones `(N, K)`. If None, the
            dataset that the run was trained on.
        pretrained: Whether an architecture stands for its default published weights.
        split: `"test"`, `"val"`, `"train"` or `"all"`.
        batch_size: Images per batch; it does not change the result.
        image_size: Height and width in pixels; that of the weights if None.
        crop_mode: `"center"`, `"squash"` or `"border"`, see `Preprocessing`; None for that of the
            weights.
        tta: Test-time augmentation: the probabilities are the mean over several views of an
            image. `"flip"`: it and its mirror image. `"ten-crop"`: four corners, centre, and the
            mirror images of the five (Krizhevsky et al. 2012, section 4.1).
        devices: Of this machine that each have a part of a batch, on JAX: a number, or `"all"`.
            By default one; with `hosts`, all.
        hosts: `"ADDRESS:PORT,N,INDEX"`: this process is number INDEX of N, one on each machine,
            and the first listens there. Each has a part of the images, and all return the same.
        options: Handling of images that cannot be read, and images to leave out. Only the first
            applies to an opened dataset.
        progress: Called with the number of images done and the total.

    Raises:
        SpecError: The reference has no weights, an argument is out of bounds, or no dataset is
            given and none is recorded.
        NotFoundError: The dataset or the split does not exist.
        IncompatibleError: The network lacks a class of the dataset, or one of them is
            single-label and the other multi-label.
        DivergedError: The logits of an image are not finite.
        IntegrityError: More images cannot be read than the options allow.
        LostHostError: Another host has ended, or is not reached.
    """
    require_known(tta)
    setting = setting_of(
        model,
        dataset,
        pretrained=pretrained,
        split=split,
        batch_size=batch_size,
        image_size=image_size,
        crop_mode=crop_mode,
        options=options,
    )
    source, data, config = setting.source, setting.data, setting.source.config
    own_data, compared = compare_with_run(source, data, split)
    with setting.computing(devices, hosts) as team:
        network = network_of(model, source)
        warn_of_gpu_faults()
        begun = time.perf_counter()
        found = _of_all(team, setting, network, tta, progress)
        elapsed_s = time.perf_counter() - begun
    origin: Origin | None = getattr(network, "rezoo_origin", None)
    facts = _facts(setting, tta, origin)
    labels = tuple(map(config.label, range(config.num_classes)))
    predictions = dataclasses.replace(found, labels=labels, facts=facts)
    return Evaluation(
        predictions=predictions,
        config=config,
        images_per_s=len(found) / elapsed_s,
        notes=(*setting.notes, *undefined(predictions), *compared),
        origin=origin,
        setting=setting,
        own_data=own_data,
    )


def _facts(setting: Setting, tta: str | None, origin: Origin | None) -> dict[str, str]:
    """Return what the predictions are of, as texts."""
    return {
        "model": setting.source.reference,
        "dataset": setting.data.reference,
        "split": setting.split,
        "preprocessing": f"{setting.in_words}, {WORDS[tta]}" if tta else setting.in_words,
        "tta": tta or "",
        "weights_sha256": origin.sha256 if origin else "",
    }


def _of_all(
    team: Devices,
    setting: Setting,
    network: keras.Model,
    tta: str | None,
    progress: Callable[[int, int], None],
) -> Predictions:
    """Return the predictions for a split, of which each host has a part; all hosts have the same.

    All know what is unreadable.
    """
    forward = compiled_forward(network, setting.preprocessing)
    if tta:
        forward = averaged(forward, setting.task, tta)
    faults = setting.faults
    mine = team.share(len(faults.examples))
    here = faults.of_some(mine)
    found = collect(
        setting.task,
        forward,
        setting.batches(here, crop=five_crops if tta == TEN_CROP else resized_crop),
        classes=setting.classes,
        progress=lambda done: progress(done, len(mine)),
        gather=team.gather,
    )
    unreadable = {int(mine[i]): reason for i, reason in here.reasons.items()}
    faults.merge(team.exchange(unreadable))
    indices = team.gather(mine[here.readable()])
    order = np.argsort(indices)
    keys = tuple(faults.examples.key(int(i)) for i in indices[order])
    return dataclasses.replace(found.at(order), keys=keys)
