"""What a package index shows of rezoo: links that depend on the address of the repository.

The address is the variable REZOO_REPOSITORY alone, such as https://github.com/owner/rezoo; the
address of the site is REZOO_SITE. The build backend calls `Links`. With the address, the links of
README.md become absolute and point to the files of this version; without it they stay relative,
and the package names no addresses.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hatchling.metadata.plugin.interface import MetadataHookInterface

# the target of [text](target) and of ![text](target), and of src="…" and href="…"
TARGET = re.compile(r"""((?P<picture>!\[[^]]*)?\]\(|\b(?P<tag>src|href)=")(?P<target>[^)\s"]+)""")
PICTURES = (".svg", ".png", ".jpg", ".gif", ".webp")


class Links(MetadataHookInterface):
    """Fills in `readme` and `urls` of the project."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the fields; a source distribution has them already, in its PKG-INFO."""
        repository, site = address("REZOO_REPOSITORY"), address("REZOO_SITE")
        tag = f"v{metadata['version']}"
        if "readme" not in metadata:
            text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
            text = absolute(text, repository, tag) if repository else text
            metadata["readme"] = {"content-type": "text/markdown", "text": text}
        if "urls" not in metadata:
            metadata["urls"] = urls(repository, site, tag)


def address(variable: str) -> str:
    """Return the address in a variable, without a slash at its end; empty if it is not set."""
    value = os.environ.get(variable, "").rstrip("/")
    parts = urlsplit(value)
    if value and not (parts.scheme == "https" and parts.hostname and not parts.query):
        raise ValueError(f"{variable}={value!r} is not an address; write https://HOST/OWNER/NAME")
    return value


def urls(repository: str, site: str, tag: str) -> dict[str, str]:
    """Return the links beside the description of the package."""
    named = {"Documentation": site}
    if repository:
        named |= {
            "Repository": repository,
            "Changelog": f"{repository}/blob/{tag}/CHANGELOG.md",
            "Issues": f"{repository}/issues",
        }
    return {name: url for name, url in named.items() if url}


def absolute(text: str, repository: str, tag: str) -> str:
    """Return Markdown whose links to files are links to the repository.

    Args:
        text: Markdown with links relative to the top of the repository.
        repository: Its address.
        tag: The version whose files are meant.
    """

    def replaced(match: re.Match[str]) -> str:
        target = match["target"]
        if urlsplit(target).scheme or target.startswith("#"):
            return match[0]
        path, _, anchor = target.removeprefix("./").partition("#")
        shown = path.endswith(PICTURES) and (match["picture"] or match["tag"] == "src")
        url = f"{repository}/{'raw' if shown else 'blob'}/{tag}/{path}"
        return match[0].removesuffix(target) + url + (f"#{anchor}" if anchor else "")

    return TARGET.sub(replaced, text)
