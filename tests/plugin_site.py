"""Distributions on `sys.path`, as pip would leave them: a package of its own, or one module."""

from __future__ import annotations

import shutil
import tomllib

from rezoo import registry


def add_distribution(site, name, points, *, version="1", requires=()):
    """Write the metadata of a distribution; `points` is group → name → object."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {r}" for r in requires)]
    (info / "METADATA").write_text("Metadata-Version: 2.1\n" + "\n".join(lines) + "\n")
    (info / "entry_points.txt").write_text(
        "\n".join(
            f"[{group}]\n" + "".join(f"{n} = {value}\n" for n, value in named.items())
            for group, named in points.items()
        )
    )
    registry._scan.cache_clear()


def install_package(folder, site):
    """Copy the package of a folder and write its metadata, as `pip install` does without network.

    Returns:
        The content of `pyproject.toml`.
    """
    settings = tomllib.loads((folder / "pyproject.toml").read_text())
    wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    for package in wheel.get("packages", ()):
        shutil.copytree(folder / package, site / package.removeprefix("src/"))
    for module in wheel.get("include", ()):
        shutil.copy(folder / module, site / module)
    project = settings["project"]
    add_distribution(
        site,
        project["name"],
        project["entry-points"],
        version=project["version"],
        requires=project["dependencies"],
    )
    return settings
