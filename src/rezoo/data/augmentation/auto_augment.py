"""Automatic augmentation: a few random operations of random strength on one image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import tensorflow as tf

from rezoo.data.augmentation import tables
from rezoo.data.augmentation.distributions import beta, dirichlet
from rezoo.data.rng import Stream, integers, normal, uniform
from rezoo.recipes.policies import FULL_LEVEL, Policy

_CHOICE = Stream.POLICY
_LEVEL = Stream.POLICY + 1
_SIGN = Stream.POLICY + 2
_APPLIED = Stream.POLICY + 3
_DEPTH = Stream.POLICY + 4
_WEIGHTS = Stream.POLICY + 5
_SHARE = Stream.POLICY + 7

_DEEPEST = 3  # AugMix: a drawn depth is 1 to 3
_LOWEST_LEVEL = 0.1  # AugMix, published code

RandomTransform = Callable[[Any, Any], Any]


def policy_transform(policy: Policy, *, fill: Sequence[int]) -> RandomTransform:
    """Return the transform of a policy: `(image, seed)` to image, uint8 `(H, W, C)`, C = 1 or 3.

    `seed` is int64 `(2,)`: one example in one epoch.

    Args:
        policy: See `rezoo.recipes.policies`.
        fill: C grey levels, 0 to 255, of the area outside a moved image in timm's RandAugment;
            timm uses the mean of the dataset. In the other policies this area is black, as in
            their papers.
    """
    if policy.kind == "ta_wide":
        transform = _trivial_augment()
    elif policy.kind == "ra":
        transform = _rand_augment(policy)
    elif policy.kind == "rand":
        transform = _timm_rand_augment(policy, fill)
    else:
        transform = _aug_mix(policy)
    # AutoGraph would change nothing and take long
    return tf.autograph.experimental.do_not_convert(transform)


def _trivial_augment() -> RandomTransform:
    operations = tables.trivial_augment_wide()

    def transform(image: Any, seed: Any) -> Any:
        choice = integers(seed, _CHOICE, below=len(operations))
        level = tf.cast(integers(seed, _LEVEL, below=tables.BINS), tf.float64)
        return _apply(operations, image, choice, level, _signs(seed, ()))

    return transform


def _rand_augment(policy: Policy) -> RandomTransform:
    operations, shape = tables.rand_augment(), (policy.num_layers,)

    def transform(image: Any, seed: Any) -> Any:
        choices = integers(seed, _CHOICE, shape, below=len(operations))
        levels = tf.fill(shape, tf.constant(policy.magnitude, tf.float64))
        return _apply_all(operations, image, choices, levels, _signs(seed, shape))

    return transform


def _timm_rand_augment(policy: Policy, fill: Sequence[int]) -> RandomTransform:
    outside = tf.constant(tuple(fill), tf.uint8)
    operations = tables.timm_rand_augment(increasing=policy.increasing, fill=outside)
    shape = (policy.num_layers,)

    def transform(image: Any, seed: Any) -> Any:
        choices = integers(seed, _CHOICE, shape, below=len(operations))
        applied = uniform(seed, _APPLIED, shape) < policy.probability
        choices = tf.where(applied, choices, len(operations))
        levels = _levels(policy, seed, shape, lowest=0.0, highest=policy.magnitude_max)
        return _apply_all(operations, image, choices, levels, _signs(seed, shape))

    return transform


def _aug_mix(policy: Policy) -> RandomTransform:
    """Return AugMix: weighted chains of operations, blended with the image (algorithm 1).

    The result is rounded once, to whole levels.
    """
    operations = tables.aug_mix()
    width, longest = policy.width, policy.depth or _DEEPEST
    shape = (width, longest)

    def transform(image: Any, seed: Any) -> Any:
        choices = integers(seed, _CHOICE, shape, below=len(operations))
        if not policy.depth:
            depths = 1 + integers(seed, _DEPTH, (width, 1), below=_DEEPEST)
            choices = tf.where(tf.range(longest) < depths, choices, len(operations))
        levels = _levels(policy, seed, shape, lowest=_LOWEST_LEVEL, highest=FULL_LEVEL)
        signs = _signs(seed, shape)
        share = beta(seed, _SHARE, policy.alpha)
        weights = share * dirichlet(seed, _WEIGHTS, policy.alpha, width)

        def add(chain: Any, mixed: Any) -> Any:
            changed = _apply_all(operations, image, choices[chain], levels[chain], signs[chain])
            return mixed + weights[chain] * tf.cast(changed, tf.float32)

        mixed = _repeat(width, add, (1.0 - share) * tf.cast(image, tf.float32))
        return tf.cast(tf.clip_by_value(tf.round(mixed), 0.0, 255.0), tf.uint8)

    return transform


def _levels(
    policy: Policy, seed: Any, shape: tuple[int, ...], *, lowest: float, highest: float
) -> Any:
    """Draw levels, float64 of `shape`: normal and clipped, or uniform up to the magnitude."""
    if math.isinf(policy.magnitude_std):
        return tf.cast(uniform(seed, _LEVEL, shape, lowest, policy.magnitude), tf.float64)
    drawn = tf.cast(normal(seed, _LEVEL, shape), tf.float64) * policy.magnitude_std
    return tf.clip_by_value(drawn + policy.magnitude, 0.0, highest)


def _signs(seed: Any, shape: tuple[int, ...]) -> Any:
    return 1.0 - 2.0 * tf.cast(integers(seed, _SIGN, shape, below=2), tf.float64)


def _apply_all(
    operations: tuple[tables.Operation, ...], image: Any, choices: Any, levels: Any, signs: Any
) -> Any:
    """Apply the chosen operations in order; choices, levels and signs are `(n,)`."""

    def step(k: Any, changed: Any) -> Any:
        return _apply(operations, changed, choices[k], levels[k], signs[k])

    return _repeat(choices.shape[0], step, image)


def _apply(
    operations: tuple[tables.Operation, ...], image: Any, choice: Any, level: Any, sign: Any
) -> Any:
    """Apply the chosen operation; a choice after the last one changes nothing."""
    branches: list[Callable[[], Any]] = [
        partial(operation, image, level, sign) for operation in operations
    ]
    return tf.switch_case(choice, [*branches, lambda: tf.identity(image)])


def _repeat(times: int, step: Callable[[Any, Any], Any], value: Any) -> Any:
    """Return `step(times - 1, ... step(0, value))`.

    A loop in the graph has the operations only once, which saves seconds at the start.
    """
    if times == 1:
        return step(0, value)
    _, value = tf.while_loop(
        lambda k, _: k < times, lambda k, v: (k + 1, step(k, v)), (0, value), parallel_iterations=1
    )
    return value
