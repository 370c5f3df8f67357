"""How data are handled: what no recipe says, because it is about files and the machine."""

from __future__ import annotations

from dataclasses import dataclass

from rezoo.errors import SpecError

ON_BAD_IMAGE = ("skip", "error")
CACHE = ("auto", "off")


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """How data are handled.

    Attributes:
        on_bad_image: What happens to images that cannot be read: `"skip"` leaves them out,
            counts and names them, `"error"` stops.
        bad_limit: The part of a split that may be left out so, 0 to 1; beyond it is an error.
        ignore: A file with the keys of examples to leave out, one a line, as `rezoo data check`
            writes it; empty for none.
        cache: `"auto"` keeps a split in memory where it takes at most a quarter of what is
            free, `"off"` reads from the disk each time. It changes no pixel.
    """

    on_bad_image: str = "skip"
    bad_limit: float = 0.01
    ignore: str = ""
    cache: str = "auto"

    def __post_init__(self) -> None:
        for key, allowed in (("on_bad_image", ON_BAD_IMAGE), ("cache", CACHE)):
            if getattr(self, key) not in allowed:
                raise SpecError(
                    f"{key}: {getattr(self, key)!r}; allowed are {' and '.join(allowed)}"
                )
        if not 0 <= self.bad_limit <= 1:
            raise SpecError(f"bad_limit: {self.bad_limit}; allowed is 0 to 1")
