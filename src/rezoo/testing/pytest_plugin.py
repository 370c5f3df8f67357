"""The contract in pytest: the marker `rezoo` and the fixture `rezoo_check`.

Each check of each marked name is a test. pytest loads this module when it starts, so the checks
are imported only for marked tests.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from rezoo.registry import Entry
    from rezoo.testing.contract import Subject

_MARKER = "rezoo(*names): check registered names, or all names of a distribution"
_FIXTURE = "rezoo_check"


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", _MARKER)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of each check of each name in the marker."""
    if _FIXTURE not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("rezoo")
    if marker is None or not marker.args:
        raise pytest.Collector.CollectError(
            f"{metafunc.definition.nodeid} takes {_FIXTURE} and names nothing to check: "
            'mark it with @pytest.mark.rezoo("NAME")'
        )
    from rezoo.errors import UnknownNameError
    from rezoo.testing.contract import name_of
    from rezoo.testing.subjects import CHECKS, named

    try:
        entries = [found for name in marker.args for found in named(name)]
    except UnknownNameError as error:
        raise pytest.Collector.CollectError(f"{error.message}. {error.hint}") from error
    tests = [
        pytest.param((kind, entry, check), id=f"{entry.name}: {name_of(check)}")
        for kind, entry in entries
        for check in CHECKS[kind]
    ]
    metafunc.parametrize(_FIXTURE, tests, indirect=True)


@pytest.fixture(scope="module")
def rezoo_subjects(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Entry], Subject]:
    """A function of kind and entry; the checks of one name share its network or opened data."""
    from rezoo.testing.subjects import subject_at

    return lru_cache(maxsize=1)(
        lambda kind, entry: subject_at(kind, entry, tmp_path_factory.mktemp("rezoo"))
    )


@pytest.fixture
def rezoo_check(
    request: pytest.FixtureRequest, rezoo_subjects: Callable[[str, Entry], Subject]
) -> Callable[[], None]:
    """A function that runs the check of a test, and fails or skips the test."""
    from rezoo.testing.contract import FAILED, SKIPPED, run

    kind, entry, one = request.param

    def check() -> None:
        result = run(one, rezoo_subjects(kind, entry))
        if result.outcome == SKIPPED:
            pytest.skip(result.text)
        if result.outcome == FAILED:
            pytest.fail(f"{result.text}\n{result.trace}".strip(), pytrace=False)

    return check
