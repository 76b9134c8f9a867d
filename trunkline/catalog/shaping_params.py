"""What shapes a destination's events, and the params in it.

A playbook says `$$NAME$$` and declares its params; the connection of a kit declares more; the
destination's `settings.params` give the values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from msgspec import Struct

from trunkline.catalog.workspace import SecretText, reveal
from trunkline.kit.destination import Settings
from trunkline.kits.params import Param, merge_params, param_values, read_params
from trunkline.playbook.nodes import Node

Tree = dict[str, Any]
PARAM_FIELDS = frozenset(  # what a playbook says of a param; a connection may say more
    {"name", "exampleValue", "defaultValue", "description", "isOptional", "isSensitive"}
)


class Shaping(Struct, frozen=True):
    """What shapes a destination's events: a playbook (None: the kind's own form), a connection.

    Each may use the params that the other declares.
    """

    playbook: Tree | None
    connection: Tree | None
    given: Mapping[str, str]

    @property
    def params(self) -> tuple[Param, ...]:
        """The params that playbook and connection declare."""
        return merge_params(*(declared_params(part) for part in (self.connection, self.playbook)))

    @property
    def values(self) -> dict[str, str]:
        """The values of params: given, or the default where that says anything."""
        filled = param_values(self.params, self.given)
        return {name: value for name, value in filled.items() if value}

    @property
    def whole_playbook(self) -> Tree | None:
        """The playbook with the connection's params declared in it too."""
        if self.playbook is None or not (self.connection or {}).get("params"):
            return self.playbook
        own = _declarations(self.playbook)
        named = {entry.get("name") for entry in own}
        more = [
            {key: value for key, value in entry.items() if key in PARAM_FIELDS}
            for entry in _declarations(self.connection)
            if entry.get("name") not in named
        ]
        return {**self.playbook, "params": [*own, *more]}


def takes_kit(settings_type: type[Settings]) -> bool:
    """Say whether a kind's settings name a kit, whose connection is filled in for it."""
    return {"kit", "connection"} <= set(settings_type.__struct_fields__)


def given_params(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the params that settings give, in clear."""
    params: Any = settings.get("params")
    if not isinstance(params, dict):
        return {}
    pairs = cast(dict[str, Any], params).items()
    return {name: reveal(value) for name, value in pairs if isinstance(value, SecretText | str)}


def declared_params(tree: Tree | None) -> tuple[Param, ...]:
    """Return the params that a playbook or a connection declares."""
    return read_params(Node(_declarations(tree), "params", []))


def _declarations(tree: Tree | None) -> list[Tree]:
    declared: Any = (tree or {}).get("params")
    return cast(list[Tree], declared) if isinstance(declared, list) else []
