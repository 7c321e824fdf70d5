"""The examples in docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

import crdt
import machines
import node.client

PACKAGES = (machines, crdt, node.client)


def modules():
    for package in PACKAGES:
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith("__main__"):
                yield importlib.import_module(found.name)


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(example, id=example.name)
        for module in modules()
        for example in doctest.DocTestFinder(exclude_empty=True).find(module)
        if example.examples
    ],
)
def test_an_example_runs(example):
    assert doctest.DocTestRunner().run(example).failed == 0
