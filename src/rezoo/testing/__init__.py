"""The contract of plugins: checks that their authors run, and that rezoo's own names pass.

`rezoo plugin check NAME` runs them on the command line, and the marker `rezoo` in pytest:

```python
@pytest.mark.rezoo("tinynet")
def test_contract(rezoo_check):
    rezoo_check()
```

Loads without Keras, TensorFlow, NumPy and pytest.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rezoo.testing.contract import Result


def check_architecture(name: str) -> tuple[Result, ...]:
    """Check a registered architecture; return the result of each check.

    Raises:
        UnknownNameError: There is no such architecture; the hint has similar names.
        PluginError: A check failed. The message has the reason of each.
        IncompatibleError: Keras runs on a backend that rezoo does not support.
    """
    return _checked("architecture", name)


def check_dataset(name: str) -> tuple[Result, ...]:
    """Check a registered dataset, which is opened; see `check_architecture`."""
    return _checked("dataset", name)


def check_recipe(name: str) -> tuple[Result, ...]:
    """Check a recipe of rezoo, of a plugin or a `.toml` file; see `check_architecture`."""
    return _checked("recipe", name)


def _checked(kind: str, name: str) -> tuple[Result, ...]:
    from rezoo.testing.contract import require
    from rezoo.testing.subjects import results, subject

    with TemporaryDirectory() as scratch:
        checked = subject(kind, name, Path(scratch))
        found = tuple(results(checked))
    require({name: found})
    return found
