"""Options and helpers that several commands share."""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any

import click

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document instead of text."
)


def print_json(document: Any) -> None:
    """Print one JSON document on stdout; numbers are finite by then."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def import_quietly(module: str) -> Any:
    """Import a module that brings TensorFlow, and keep its start-up lines off stderr.

    They are written by C++ before any setting is read, so the file descriptor is turned
    away; what Python raises or prints is not lost. `REZOO_DEBUG=1` lets everything through.
    """
    if os.environ.get("REZOO_DEBUG", "") not in ("", "0"):
        return importlib.import_module(module)
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # no stderr at all
        return importlib.import_module(module)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        loaded = importlib.import_module(module)
        if "tensorflow" in sys.modules and os.environ.get("KERAS_BACKEND") != "jax":
            # the first operation logs once more, on another thread
            sys.modules["tensorflow"].constant(0)
        return loaded
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
