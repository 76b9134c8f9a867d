"""The catalog as a workspace file, which applies back to nothing to change.

Secrets are written as `{env: NAME}` with names made from what they belong to, or in clear with
`reveal`. What has its default is left out.
"""

from __future__ import annotations

import re
from typing import Any, cast

import msgspec
import yaml
from msgspec import Struct

from trunkline.catalog.database import read_session
from trunkline.catalog.formats import format_instant
from trunkline.catalog.kit_choice import KitChoice
from trunkline.catalog.store import read_stored
from trunkline.catalog.vault import open_vault
from trunkline.catalog.workspace import (
    AppSpec,
    Instant,
    KeySpec,
    SecretText,
    Workspace,
    fields_of,
)
from trunkline.kit.clock import Clock
from trunkline.kit.yaml_text import resolve_scalar
from trunkline.state.home import Home

REFERENCE_HEADER = "# Secrets are references: set these variables before you apply this file.\n"
REVEALED_HEADER = "# This file holds secrets in clear. Keep it as you keep a password.\n"
_STYLE: dict[str, Any] = {
    "default_flow_style": None,  # short collections on one line
    "sort_keys": False,
    "allow_unicode": True,
    "width": 100,
}
_DULL = ("apps", "keys", "destinations", "s2s", "settings")


class Exported(Struct, frozen=True):
    """A workspace file, and the variables that its secrets are named by."""

    text: str
    variables: tuple[str, ...]


def export_workspace(home: Home, clock: Clock, *, reveal: bool = False) -> Exported:
    """Return the catalog of a home as a workspace file.

    Raises `CatalogError`, `VaultError`, or SQLAlchemy's errors where the database cannot be read.
    """
    with read_session(home) as session:
        if session is None:
            return render(Workspace(apps=()), reveal=reveal)
        vault = open_vault(home.key_file, may_create=False)
        stored = read_stored(session, vault, clock.now_ms())
        workspace = _without_current(stored.workspace, KitChoice(session))
    return render(workspace, reveal=reveal)


def _without_current(workspace: Workspace, kits: KitChoice) -> Workspace:
    """Leave the digest of a kit out where it is what leaving it out means."""
    replace = msgspec.structs.replace
    apps = [
        replace(
            app,
            destinations=tuple(
                replace(found, kit_digest=None)
                if found.kit_digest == kits.current(str(found.settings.get("kit")))
                else found
                for found in app.destinations
            ),
        )
        for app in workspace.apps
    ]
    return replace(workspace, apps=tuple(apps))


def render(workspace: Workspace, *, reveal: bool) -> Exported:
    """Return a workspace as the text of a file. Pure."""
    writer = _Writer(reveal)
    tree = writer.plain(workspace, ())
    tree.setdefault("apps", [])
    if workspace.plan is not None:
        tree["plan"] = {"features": list(workspace.plan.features), **tree["plan"]}
    body = render_tree(tree)
    header = ""
    if writer.has_secrets:
        header = REVEALED_HEADER if reveal else REFERENCE_HEADER
    return Exported(header + body, tuple(writer.names))


def render_tree(tree: Any) -> str:
    """Return plain values as YAML that our own reader reads back."""
    dumped = yaml.dump(tree, Dumper=_Dumper, **_STYLE)  # pyright: ignore[reportUnknownVariableType] PyYAML has no types
    return cast(str, dumped)


class _Writer:
    """Turns structs into plain values, leaving defaults out."""

    def __init__(self, reveal: bool) -> None:
        self.names: dict[str, None] = {}  # in order
        self.has_secrets = False
        self._reveal = reveal

    def plain(self, value: Any, path: tuple[str, ...]) -> Any:
        """Return a value as YAML has it. `path` is what a secret in it is named by."""
        if isinstance(value, Struct):
            return self._struct(value, path)
        if isinstance(value, SecretText):
            return self._secret(value, path)
        if isinstance(value, Instant):
            return format_instant(value)
        if isinstance(value, dict):
            pairs = cast(dict[str, Any], value)
            return {key: self.plain(inner, (*path, key)) for key, inner in pairs.items()}
        if isinstance(value, list | tuple):
            items = cast(list[Any], value)
            return [self.plain(inner, path) for inner in items]
        return int(value) if isinstance(value, float) and value.is_integer() else value

    def _struct(self, value: Struct, path: tuple[str, ...]) -> dict[str, Any]:
        label = value.name if isinstance(value, AppSpec | KeySpec) else getattr(value, "id", None)
        path = (*path, label) if isinstance(label, str) else path
        result: dict[str, Any] = {}
        for field in fields_of(type(value)):
            inner = getattr(value, field.name)
            if field.required or (inner is not None and inner != field.default):
                result[field.encode_name] = self.plain(inner, (*path, field.encode_name))
        return result

    def _secret(self, secret: SecretText, path: tuple[str, ...]) -> Any:
        self.has_secrets = True
        if self._reveal:
            return secret.text
        name = self._name(path)
        self.names[name] = None
        return {"env": name}

    def _name(self, path: tuple[str, ...]) -> str:
        words = "_".join(word for word in path if word not in _DULL)
        stem = re.sub(r"[^A-Z0-9]+", "_", words.upper()).strip("_") or "SECRET"
        stem = f"SECRET_{stem}" if stem[0].isdigit() else stem
        name, number = stem, 2
        while name in self.names:
            name, number = f"{stem}_{number}", number + 1
        return name


class _Dumper(yaml.SafeDumper):
    """Writes YAML that our own reader reads back: text that it takes for a number is quoted."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 PyYAML's signature
        """Write everything out: nobody wants `*id001` in a file to edit."""
        return True


def _is_plain(text: str) -> bool:
    """Say whether every character is seen, or a line end that YAML keeps as it is."""
    return text.replace("\n", "").replace("\t", "").isprintable()


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = None
    if not isinstance(resolve_scalar(text), str) or not _is_plain(text):
        style = '"'  # the one style that says every character
    elif "\n" in text:
        style = "|"  # code reads as it was written
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
