"""`evaluate`: the scores of a network on a split of a dataset."""

from __future__ import annotations

import time
from collections.abc import Callable

import keras
import numpy as np

from rezoo.data.corners import five_crops
from rezoo.data.datasets import DataOptions
from rezoo.data.resize import resized_crop
from rezoo.evaluation.averaging import TEN_CROP, WORDS, averaged, require_known
from rezoo.evaluation.calibrating.unknown import ScoredForward
from rezoo.evaluation.forward import compiled_forward
from rezoo.evaluation.logits import Forward
from rezoo.evaluation.predictions import Predictions, collect
from rezoo.evaluation.recording import compare_with_run
from rezoo.evaluation.result import Evaluation
from rezoo.evaluation.scoring.measured import undefined
from rezoo.evaluation.setting import AnyData, Setting, setting_of
from rezoo.models.devices import Devices
from rezoo.sources.any_model import AnyModel
from rezoo.specs import Origin
from rezoo.utils.gpu_faults import warn_of_gpu_faults
from rezoo.utils.live_line import Progress, counted


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
    progress: Progress = True,
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
        progress: Called with the number of images done and the total; by default they
            are shown on a terminal and in a notebook. None for silence.

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
    show = counted(progress, "evaluating")
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
    return evaluate_setting(setting, tta=tta, devices=devices, hosts=hosts, progress=show)


def evaluate_setting(
    setting: Setting,
    *,
    tta: str | None = None,
    devices: int | str | None = None,
    hosts: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Measure what is opened already; otherwise as `evaluate`."""
    own_data, compared = compare_with_run(setting.source, setting.data, setting.split)
    with setting.computing(devices, hosts) as team:
        network = setting.network()
        warn_of_gpu_faults()
        begun = time.perf_counter()
        found, scores = _of_all(team, setting, network, tta, progress)
        elapsed_s = time.perf_counter() - begun
    origin: Origin | None = getattr(network, "rezoo_origin", None)
    predictions = setting.described(
        found,
        preprocessing=f"{setting.in_words}, {WORDS[tta]}" if tta else setting.in_words,
        tta=tta or "",
        weights_sha256=origin.sha256 if origin else "",
    )
    return Evaluation(
        predictions=predictions,
        config=setting.source.config,
        images_per_s=len(found) / elapsed_s,
        notes=(*setting.notes, *undefined(predictions), *compared),
        origin=origin,
        setting=setting,
        own_data=own_data,
        image_scores=scores,
    )


def _of_all(
    team: Devices,
    setting: Setting,
    network: keras.Model,
    tta: str | None,
    progress: Callable[[int, int], None],
) -> tuple[Predictions, dict[str, np.ndarray]]:
    """Return predictions for a split and the scores of `ScoredForward`, the same on all hosts.

    Each host has a part of the images. All know what is unreadable.
    """
    scoring: ScoredForward | None = None
    forward: Forward
    if tta:
        forward = averaged(compiled_forward(network, setting.preprocessing), setting.task, tta)
    elif setting.task.multi_label:
        forward = compiled_forward(network, setting.preprocessing)
    else:
        forward = scoring = ScoredForward(network, setting.source.config, setting.preprocessing)
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
    scores = scoring.scores() if scoring else {}
    return found, {name: team.gather(values) for name, values in scores.items()}
