"""What a playbook hashed of an event: said beside a request, where only the digest is seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from trunkline.kits.answers import find
from trunkline.playbook.names import event_key, event_name
from trunkline.playbook.spec import Playbook, Section

HASH = "toHash"


def hash_notes(playbook: Playbook, event: Mapping[str, Any], output: Any) -> list[str]:
    """Return `hashed: KEY (sha256)` for each key of an output that holds a digest of the event's.

    Hashes that are made by code or by functions are not known of.
    """
    keys: dict[str, str] = {}
    for section in _sections(playbook, event):
        for mapping in section.mappings:
            if hashes := [*_hashes(mapping.transforms)]:
                keys[mapping.output_key] = hashes[-1]
    return [f"hashed: {key} ({hash_})" for key, hash_ in keys.items() if _is_there(output, key)]


def _sections(playbook: Playbook, event: Mapping[str, Any]) -> tuple[Section, Section]:
    """Return the sections that an event runs through."""
    key = event_key(event_name(dict(event)))
    own = next((s for name, s in playbook.event_specific.items() if event_key(name) == key), None)
    return playbook.every, playbook.default if own is None else own


def _hashes(transforms: Any) -> Iterator[str]:
    """Yield the algorithm of every hash in a chain, also of one that a transform holds."""
    if isinstance(transforms, dict):
        for name, argument in cast("dict[str, Any]", transforms).items():
            if name == HASH:
                yield str(argument)
            else:
                yield from _hashes(argument)
    elif isinstance(transforms, list | tuple):
        for one in cast("list[Any]", transforms):
            yield from _hashes(one)


def _is_there(output: Any, key: str) -> bool:
    return (find(output, key) if key else output) is not None
