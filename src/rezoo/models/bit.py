"""BiT: "Big Transfer: General Visual Representation Learning", arXiv:1912.11370, section 3.3.

Pre-activation ResNets for pre-training on large data. Batch normalization would tie an image to the
others of its batch: group normalization takes its place, and the filters of convolutions are
standardized. `x3` multiplies all widths by three. timm's weights are from ImageNet-21k.

| name                | blocks per stage |  parameters |  MACs at 224 px |
|---------------------|------------------|-------------|-----------------|
| resnetv2_50x1_bit   | 3, 4, 6, 3       |  25,549,352 |   4,089,184,256 |
| resnetv2_50x3_bit   | 3, 4, 6, 3       | 217,319,080 |  36,082,286,592 |
| resnetv2_101x1_bit  | 3, 4, 23, 3      |  44,541,480 |   7,801,405,440 |
| resnetv2_101x3_bit  | 3, 4, 23, 3      | 387,934,888 |  69,492,277,248 |
| resnetv2_152x2_bit  | 3, 8, 36, 3      | 236,335,208 |  45,814,382,592 |
| resnetv2_152x4_bit  | 3, 8, 36, 3      | 936,533,224 | 182,777,282,560 |
"""

from __future__ import annotations

from rezoo.models.residual import Style, member
from rezoo.models.resnetv2 import BODY50, BODY101, BODY152, build
from rezoo.specs import ModelSpec

_PAPER = "Kolesnikov et al. 2019, arXiv:1912.11370, section 3.3"


def _spec(depth: int, width: int, *, params: int, macs: int) -> ModelSpec:
    body = {50: BODY50, 101: BODY101, 152: BODY152}[depth]
    words = "group normalization, standardized filters"
    config = {
        "widths": tuple(width * channels for channels in body["widths"]),
        "stem": ("plain", (64 * width,)),
        "pool": "zero_padded_max",
        "parts": "standardized",
    }
    style = Style(f"{width} times as wide, {words}" if width > 1 else words, _PAPER, config)
    name = f"resnetv2_{depth}x{width}_bit"
    return member(
        name, body, style, family="bit", layers=depth, params=params, macs=macs, build=build
    )


resnetv2_50x1_bit = _spec(50, 1, params=25_549_352, macs=4_089_184_256)
resnetv2_50x3_bit = _spec(50, 3, params=217_319_080, macs=36_082_286_592)
resnetv2_101x1_bit = _spec(101, 1, params=44_541_480, macs=7_801_405_440)
resnetv2_101x3_bit = _spec(101, 3, params=387_934_888, macs=69_492_277_248)
resnetv2_152x2_bit = _spec(152, 2, params=236_335_208, macs=45_814_382_592)
resnetv2_152x4_bit = _spec(152, 4, params=936_533_224, macs=182_777_282_560)
