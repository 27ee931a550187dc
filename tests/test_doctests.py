"""The examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import scaleprof

MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages(scaleprof.__path__, "scaleprof.")
    if not info.name.endswith("__main__")
)


@pytest.mark.parametrize("name", ["scaleprof", *MODULES])
def test_the_examples_of_a_module_hold(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    attempted = sum(doctest.testmod(importlib.import_module(name)).attempted for name in MODULES)
    assert attempted > 20
