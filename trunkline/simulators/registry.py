"""Which vendors can be simulated: every module of this room that holds a `Simulator`."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import ModuleType

from trunkline import simulators as room
from trunkline.simulators.simulator import Simulator


@cache
def simulators() -> Mapping[str, type[Simulator]]:
    """Return every simulator by its vendor's name, in the order of the names.

    Raises `ValueError` where two call themselves the same.
    """
    found: dict[str, type[Simulator]] = {}
    for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
        for simulator in _in_module(importlib.import_module(module.name)):
            if simulator.vendor in found:
                raise ValueError(
                    f"two simulators are called {simulator.vendor!r}: "
                    f"{found[simulator.vendor].__module__} and {module.name}"
                )
            found[simulator.vendor] = simulator
    return dict(sorted(found.items()))


def _in_module(module: ModuleType) -> list[type[Simulator]]:
    """Return the simulators that are written in a module (and not those that it imports)."""
    return [
        one
        for one in vars(module).values()
        if isinstance(one, type)
        and issubclass(one, Simulator)
        and not inspect.isabstract(one)
        and one.__module__ == module.__name__
        and hasattr(one, "vendor")
    ]
