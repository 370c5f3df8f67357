"""`draw_networks`: networks as a picture, and the outline of a network by its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

from rezoo.drawing.block_diagrams import draw_blocks
from rezoo.drawing.canvas import to_svg
from rezoo.drawing.columns import draw_columns
from rezoo.drawing.outline import Outline, outline
from rezoo.drawing.rulers import draw_rulers
from rezoo.errors import RezooError, SpecError
from rezoo.models.factory import create_model, start_from_zeros

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Part = Literal["network", "ruler", "blocks"]
_DRAWINGS: dict[Part, Callable[[Sequence[Outline]], Axes]] = {
    "network": draw_columns,
    "ruler": draw_rulers,
    "blocks": draw_blocks,
}


def outline_of(
    name: str, *, input_shape: tuple[int, int, int], num_classes: int | None = None
) -> Outline:
    """Build a registered architecture without drawing its weights, and return its outline.

    Args:
        name: A registered architecture.
        input_shape: `(height, width, channels)`.
        num_classes: Width of the head; that of the architecture if None.

    Raises:
        IncompatibleError: The network is no stack of stages.
        SpecError: The network cannot be built for images of this size.
    """
    create = partial(create_model, name, num_classes=num_classes, input_shape=input_shape)
    try:
        model = start_from_zeros(create)
    except RezooError:
        raise
    except ValueError as error:  # Keras's, of a layer without output
        size = "x".join(map(str, input_shape[:2]))
        raise SpecError(
            f"{name} cannot be built for images of {size}: {str(error).splitlines()[0]}",
            hint="give a larger --image-size.",
        ) from error
    return outline(model)


def draw_networks(outlines: Sequence[Outline], part: Part | None = None) -> str:
    """Return a picture of networks as the text of an SVG file, for light and for dark pages.

    The same version of matplotlib gives the same text.

    Args:
        outlines: The networks, from left to right or from top to bottom.
        part: `"network"` for the layers, as wide as they have channels, with multiply-adds (MACs)
            of each stage; `"ruler"` for the layers that the name counts; `"blocks"` for weights
            and MACs of a block. If None, all three of one network, and the first of several.
    """
    parts: list[Part] = [part] if part else ["network", "ruler", "blocks"]
    if part is None and len(outlines) > 1:
        parts = ["network"]
    names = ", ".join(found.name for found in outlines)
    title = f"{names}: {', '.join(parts)}"
    return to_svg([partial(_DRAWINGS[each], outlines) for each in parts], title)
