"""Licences of weights, by the identifiers of SPDX and of the Hub."""

from __future__ import annotations

PERMISSIVE = ("apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "isc", "mit", "unlicense")


def forbids_commercial_use(licence: str) -> bool:
    """Return whether a licence is for other uses only: Creative Commons' NC, and Meta's of SEER."""
    return not {"nc", "noncommercial", "seer"}.isdisjoint(licence.lower().split("-"))
