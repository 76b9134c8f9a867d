"""Imports and runs once, before anything is forked, all that is loaded when it is first used."""

from __future__ import annotations

from trunkline.jail import worker
from trunkline.jail.python_code import prepare_modules
from trunkline.playbook.functions import FUNCTIONS, load_tables
from trunkline.playbook.transforms import TRANSFORMS


def prepare() -> None:
    """Make this process ready to be forked."""
    assert worker  # it imports the rest
    prepare_modules()
    load_tables()
    for transform in TRANSFORMS.values():
        for example in transform.examples:
            transform.prepare(example.argument)(example.input)
    for helper in FUNCTIONS.values():
        for call in helper.examples:
            helper.call(*call.arguments)
