"""Mixup and CutMix: each example of a batch is mixed with its neighbour, and so are the targets.

Example i is mixed with i XOR 1: 0 with 1, 2 with 3. The last example of an odd batch is not mixed.
If a batch is divided at even places, the examples are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from rezoo.data.augmentation.distributions import beta
from rezoo.data.rng import Stream, uniform

_CUT = Stream.MIX
_CENTRE = Stream.MIX + 1
_MIXUP_SHARE = Stream.MIX + 2
_CUTMIX_SHARE = Stream.MIX + 4


def mixing(mixup_alpha: float, cutmix_alpha: float) -> Callable[[Any, Any, Any], tuple[Any, Any]]:
    """Return the transform `(images, targets, seed)` to `(images, targets)`.

    Images are uint8 `(B, H, W, C)`, targets float32 `(B, K)`: shares of the classes, or 1 for
    each of several. Mixup rounds to the nearest grey level, as timm's `FastCollateMixup` does.
    `seed` is int64 `(2,)`: one batch in one epoch. A batch has one share. If both alphas are above
    0, a batch is mixed or cut with probability 1/2 each, as in torchvision and timm.

    Args:
        mixup_alpha: Parameter of the Beta distribution of the share (Zhang et al. 2018,
            arXiv:1710.09412); 0 turns mixup off.
        cutmix_alpha: The same for CutMix (Yun et al. 2019, arXiv:1905.04899).

    Raises:
        ValueError: Both are 0, or one is below.
    """
    if min(mixup_alpha, cutmix_alpha) < 0 or mixup_alpha == cutmix_alpha == 0:
        raise ValueError(
            f"mixup_alpha = {mixup_alpha}, cutmix_alpha = {cutmix_alpha}; allowed is 0 or more, "
            "and one of them above 0"
        )

    def transform(images: Any, targets: Any, seed: Any) -> tuple[Any, Any]:
        def mixed() -> tuple[Any, Any]:
            return _mixup(images, targets, beta(seed, _MIXUP_SHARE, mixup_alpha))

        def cut() -> tuple[Any, Any]:
            share = beta(seed, _CUTMIX_SHARE, cutmix_alpha)
            return _cutmix(images, targets, share, uniform(seed, _CENTRE, (2,)))

        if not cutmix_alpha:
            return mixed()
        if not mixup_alpha:
            return cut()
        return tf.cond(uniform(seed, _CUT) < 0.5, cut, mixed)

    return transform


def _mixup(images: Any, targets: Any, share: Any) -> tuple[Any, Any]:
    partners = _partners(images)
    levels, others = (tf.cast(x, tf.float32) for x in (images, tf.gather(images, partners)))
    mixed = tf.cast(_blend(levels, others, share) + 0.5, tf.uint8)  # cuts the fraction
    return mixed, _blend(targets, tf.gather(targets, partners), share)


def _cutmix(images: Any, targets: Any, share: Any, centre: Any) -> tuple[Any, Any]:
    """Replace a rectangle, 1 - `share` of the area, by that of the neighbour.

    Its centre is anywhere in the image; the part outside the image is cut off.
    """
    sides = tf.shape(images)[1:3]
    lengths = tf.cast(sides, tf.float32)
    half = tf.cast(lengths * tf.sqrt(1.0 - share), tf.int32) // 2
    middle = tf.minimum(tf.cast(centre * lengths, tf.int32), sides - 1)
    start, end = tf.maximum(middle - half, 0), tf.minimum(middle + half, sides)
    taken = tf.cast(tf.reduce_prod(end - start), tf.float32) / tf.reduce_prod(lengths)
    partners = _partners(images)
    inside = tf.gather(images[:, start[0] : end[0], start[1] : end[1]], partners)
    left = images[:, start[0] : end[0], : start[1]]
    right = images[:, start[0] : end[0], end[1] :]
    middle = tf.concat([left, inside, right], 2)
    mixed = tf.concat([images[:, : start[0]], middle, images[:, end[0] :]], 1)
    return tf.ensure_shape(mixed, images.shape), _blend(
        targets, tf.gather(targets, partners), 1.0 - taken
    )


def _blend(values: Any, others: Any, share: Any) -> Any:
    # exactly `values` where both are the same
    return values + (1.0 - share) * (others - values)


def _partners(images: Any) -> Any:
    size = tf.shape(images)[0]
    own = tf.range(size)
    neighbours = tf.bitwise.bitwise_xor(own, 1)
    return tf.where(neighbours < size, neighbours, own)
