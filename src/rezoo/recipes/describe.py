"""A recipe in plain words, written from its keys, and its claim, for `rezoo info`."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rezoo.recipes.claims import Claim
from rezoo.recipes.policies import parse_policy
from rezoo.recipes.recipe import Recipe

_OPTIMIZERS = {"sgd": "SGD", "adamw": "AdamW", "lamb": "LAMB", "lars": "LARS"}
_POLICIES = {
    "ta_wide": "TrivialAugment, one random operation",
    "ra": "RandAugment as in torchvision",
    "rand": "RandAugment as in timm",
    "augmix": "AugMix",
}
_TIMES = {2: "twice", 3: "three times", 4: "four times"}


def explain(recipe: Recipe) -> list[tuple[str, str]]:
    """Return headings and a sentence for each; what a recipe leaves out is not mentioned."""
    rows = [
        ("training images", "; ".join(_training_images(recipe))),
        ("test images", _test_images(recipe)),
        ("length", "; ".join(_length(recipe))),
        ("objective", "; ".join(_objective(recipe))),
        ("optimizer", "; ".join(_optimizer(recipe))),
        ("learning rate", _learning_rate(recipe)),
        ("regularization", "; ".join(_regularization(recipe))),
        ("averaging", _averaging(recipe)),
        ("transfer", "; ".join(_transfer(recipe))),
        ("precision", _precision(recipe)),
    ]
    return [(heading, text) for heading, text in rows if text]


def explain_claim(claim: Claim | None, source: str) -> list[tuple[str, str]]:
    """Return headings and a sentence for each: what may be expected of the recipe.

    Args:
        claim: Of the recipe, if it makes one.
        source: The recipe's.
    """
    if claim is None:
        return [("expected", "the file makes no claim"), ("source", source)]
    rows = [
        ("expected", expected(claim) or "no published figure for a network that rezoo has"),
        ("cost", claim.cost),
        ("reproduced", claim.reproduced or "not by rezoo yet"),
        ("what differs", "\n".join(claim.differs)),
        ("source", source),
    ]
    return [(heading, text) for heading, text in rows if text]


def expected(claim: Claim) -> str:
    """Return the figures of a claim in one line, in percent."""
    if not claim.top1:
        return ""
    figures = ", ".join(f"{name} {100 * part:.4g} %" for name, part in claim.top1.items())
    return f"top-1 of {figures}, ± {100 * claim.tolerance:g}, on {claim.dataset}"


def _training_images(recipe: Recipe) -> Iterator[str]:
    yield _crop(recipe)
    if recipe.flip:
        yield f"mirrored with probability {recipe.flip:g}"
    if recipe.color_jitter:
        change = f"{100 * recipe.color_jitter:g} %"
        yield f"brightness, contrast and saturation changed by up to {change}"
    if recipe.auto_augment:
        yield f"{_POLICIES[parse_policy(recipe.auto_augment).kind]} ({recipe.auto_augment})"
    if recipe.random_erase:
        yield f"a rectangle blanked with probability {recipe.random_erase:g}"
    if recipe.mixes:
        yield _mixing(recipe)
    if (times := recipe.repeated_augmentation) > 1:
        yield f"each image {_TIMES.get(times, f'{times} times')} in a batch, augmented anew"


def _crop(recipe: Recipe) -> str:
    if recipe.crop_padding:
        moved = f"moved by up to {recipe.crop_padding} pixels in both directions"
        return f"the whole image at {_size(recipe)}, {moved}"
    (low, high), (narrow, wide) = recipe.crop_scale, recipe.crop_ratio
    area = f"{100 * low:.3g} %" if low == high else f"{100 * low:.3g} to {100 * high:.3g} %"
    shape = "square" if narrow == wide == 1 else f"{narrow:.3g} to {wide:.3g} times as wide as high"
    return f"a random crop of {area} of the area, {shape}, resized to {_size(recipe)}"


def _size(recipe: Recipe) -> str:
    full = recipe.train_size or recipe.image_size
    whole = f"{full} × {full} pixels" if full else "the size that weights or dataset say"
    if recipe.start_size is None or recipe.start_size == full:
        return whole
    first, last = recipe.grow_epochs
    start = recipe.start_size
    return f"{start} × {start} at first, from epoch {first:g} to {last:g} growing to {whole}"


def _mixing(recipe: Recipe) -> str:
    mixup = f"mixup (alpha {recipe.mixup_alpha:g})" if recipe.mixup_alpha else ""
    cutmix = f"CutMix (alpha {recipe.cutmix_alpha:g})" if recipe.cutmix_alpha else ""
    if mixup and cutmix:
        return f"neighbours mixed by {mixup} in half of the batches, by {cutmix} in the others"
    return f"neighbours mixed by {mixup or cutmix}"


def _test_images(recipe: Recipe) -> str:
    how = f" ({recipe.interpolation})" if recipe.interpolation else ""
    size, part = recipe.image_size, recipe.crop_pct
    if size and part:
        side = math.floor(size / part)
        return (
            f"the shorter side resized to {side} pixels{how}, {size} × {size} cut out of the middle"
        )
    if size:
        return f"{size} × {size} pixels{how}, cut as weights or dataset say"
    return f"as weights or dataset say{how}"


def _length(recipe: Recipe) -> Iterator[str]:
    if recipe.steps is None:
        yield f"{recipe.epochs} epochs, {recipe.batch_size} images a step"
    else:
        yield f"{recipe.steps} steps of {recipe.batch_size} images, up to the end of an epoch"
    if recipe.accumulation > 1:
        yield f"{recipe.micro_batch_size} images at a time"
    if recipe.early_stopping_epochs:
        yield f"ended after {recipe.early_stopping_epochs} epochs without a better one"


def _objective(recipe: Recipe) -> Iterator[str]:
    if recipe.loss == "binary_cross_entropy":
        yield "binary cross-entropy, each class by itself"
        if recipe.bce_threshold:
            yield f"of mixed targets, those above {recipe.bce_threshold:g} count as 1, others as 0"
    else:
        yield "cross-entropy"
    if recipe.class_weights == "balanced":
        yield "each class counts as much as any other"


def _optimizer(recipe: Recipe) -> Iterator[str]:
    name = _OPTIMIZERS[recipe.optimizer]
    if recipe.optimizer in ("sgd", "lars"):
        nesterov = " (Nesterov)" if recipe.nesterov and recipe.optimizer == "sgd" else ""
        name += f" with momentum {recipe.momentum:g}{nesterov}"
    if recipe.optimizer == "lars":
        name += f" and trust coefficient {recipe.trust_coefficient:g}"
    yield name
    if recipe.clip_norm:
        yield f"gradients of a norm above {recipe.clip_norm:g} are shortened to it"


def _learning_rate(recipe: Recipe) -> str:
    peak = f"{recipe.learning_rate:g}"
    warm = [
        f"{recipe.warmup_epochs:g} epochs" if recipe.warmup_epochs else "",
        f"{recipe.warmup_steps} steps" if recipe.warmup_steps else "",
    ]
    times = " or ".join(filter(None, warm)) + (", the longer" if all(warm) else "")
    rise = f"in a line from 0 to {peak} over {times}, then" if any(warm) else f"{peak}, then"
    return f"{rise} {_fall(recipe)}"


def _fall(recipe: Recipe) -> str:
    end = f"to {recipe.min_learning_rate:g}"
    if recipe.schedule == "constant":
        return "the same to the end"
    if recipe.schedule == "step":
        parts = ", ".join(f"{100 * part:.3g}" for part in recipe.step_at)
        return f"a tenth of it after {parts} % of the run, each time again"
    if recipe.schedule == "poly":
        return f"down {end} as the rest of the run to the power of {recipe.poly_power:g}"
    return f"down {end} in {'a cosine' if recipe.schedule == 'cosine' else 'a line'}"


def _regularization(recipe: Recipe) -> Iterator[str]:
    if recipe.weight_decay:
        where = "on" if recipe.decay_norm_and_bias else "but not on"
        kind = "" if recipe.optimizer != "sgd" else " as an L2 term"
        if recipe.optimizer == "sgd" and recipe.decoupled_weight_decay:
            kind = " a step at the peak of the rate"
        yield f"weight decay {recipe.weight_decay:g}{kind}, {where} norm layers and biases"
    if recipe.label_smoothing:
        yield f"labels smoothed by {recipe.label_smoothing:g}"
    if recipe.stochastic_depth:
        yield f"blocks left out at random, the last with probability {recipe.stochastic_depth:g}"


def _averaging(recipe: Recipe) -> str:
    if not recipe.ema_decay:
        return ""
    memory = recipe.ema_every / (1 - recipe.ema_decay)
    every = "every step" if recipe.ema_every == 1 else f"every {recipe.ema_every} steps"
    return (
        f"the result is an average of the weights of the last {memory:,.0f} steps or so, "
        f"updated {every} (decay {recipe.ema_decay:.6g})"
    )


def _transfer(recipe: Recipe) -> Iterator[str]:
    if recipe.head_start == "probe":
        yield "a new head begins as logistic regression on the features"
    if recipe.backbone_lr_scale == 0:
        yield "only the head learns"
    elif recipe.backbone_lr_scale != 1:
        yield f"all but the head learn at {recipe.backbone_lr_scale:g} of the rate"
    if recipe.layer_lr_decay != 1:
        yield f"each stage learns at {recipe.layer_lr_decay:g} of the rate of the one behind it"
    if recipe.batch_norm == "frozen":
        yield "running statistics stay those of the weights"


def _precision(recipe: Recipe) -> str:
    if recipe.precision == "auto":
        return "as the device does best (auto)"
    return recipe.precision
