"""Hosts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Hosts:
    address: str
    port: int
    count: int
    index: int

    @classmethod
    def parse(cls, text: str) -> Hosts:
        place, n, i = text.rsplit(",", 2)
        a, p = place.rsplit(":", 1)
        return cls(address=a, port=int(p), count=int(n), index=int(i))
