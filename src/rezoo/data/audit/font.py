"""Letters of 5x8 pixels for what is written on a sheet: printable ASCII, others as `?`."""

from __future__ import annotations

import numpy as np

WIDTH, HEIGHT = 6, 9  # of a letter, with the gap to the next

# From the space to the tilde. A letter is eight rows from the top, the last below the line; a
# row is one digit to the base 32, whose five bits are its pixels from the left.
_ROWS = """
00000000 44444040 AAA00000 AAVAVAA0 4FKE5U40 OP248J30 CIK8LID0 44800000 24888420 84222480
04LEL400 044V4400 00000448 000V0000 00000CC0 01248G00 EHJLPHE0 4C4444E0 EH1248V0 V2421HE0
26AIV220 VGU11HE0 68GUHHE0 V1248880 EHHEHHE0 EHHF12C0 0CC0CC00 0CC0C480 248G8420 00V0V000
84212480 EH124040 EH1DLLE0 EHHVHHH0 UHHUHHU0 EHGGGHE0 SIHHHIS0 VGGUGGV0 VGGUGGG0 EHGNHHF0
HHHVHHH0 E44444E0 72222IC0 HIKOKIH0 GGGGGGV0 HRLLHHH0 HHPLJHH0 EHHHHHE0 UHHUGGG0 EHHHLID0
UHHUKIH0 FGGE11U0 V4444440 HHHHHHE0 HHHHHA40 HHHLLLA0 HHA4AHH0 HHHA4440 V1248GV0 E88888E0
0G842100 E22222E0 4AH00000 0000000V 84200000 00E1FHF0 GGMPHHU0 00EGGHE0 11DJHHF0 00EHVGE0
698S8880 00FHHF1E GGMPHHH0 40C444E0 206222IC GGIKOKI0 C44444E0 00QLLHH0 00MPHHH0 00EHHHE0
00UHHUGG 00FHHF11 00MPGGG0 00FGE1U0 88S88960 00HHHJD0 00HHHA40 00HHLLA0 00HA4AH0 00HHHF1E
00V248V0 24484420 44444440 84424480 008L2000
"""
_LETTERS = dict(zip(map(chr, range(32, 127)), _ROWS.split(), strict=True))


def text_mask(text: str, scale: int = 1) -> np.ndarray:
    """Return bool `(9 * scale, 6 * scale * len(text))`: which pixels are ink."""
    mask = np.zeros((HEIGHT, WIDTH * len(text)), bool)
    for place, letter in enumerate(text):
        for y, row in enumerate(_LETTERS.get(letter, _LETTERS["?"])):
            for x in range(5):
                mask[y, WIDTH * place + x] = int(row, 32) >> (4 - x) & 1
    return mask.repeat(scale, 0).repeat(scale, 1)


def fitted(text: str, width: int, scale: int = 1) -> str:
    """Return text that is no wider than `width` pixels, cut with two dots where it was."""
    room = width // (WIDTH * scale)
    return text if len(text) <= room else text[: max(room - 2, 0)] + ".."[:room]
