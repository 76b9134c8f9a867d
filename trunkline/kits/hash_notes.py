"""Which keys of an output hold a hash, told from the playbook: for the trace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trunkline.playbook.names import event_key, event_name
from trunkline.playbook.spec import FieldMapping, Playbook, Section


def hash_notes(playbook: Playbook, event: Mapping[str, Any]) -> dict[str, str]:
    """Return each output key that a mapping hashes for this event, and by which function."""
    name = event_key(event_name(dict(event)))
    own = {event_key(key): section for key, section in playbook.event_specific.items()}
    sections = (playbook.every, own.get(name, playbook.default))
    return {key: by for section in sections for key, by in _hashed(section)}


def _hashed(section: Section) -> Iterator[tuple[str, str]]:
    for mapping in section.mappings:
        if by := _hash_of(mapping):
            yield mapping.output_key, by


def _hash_of(mapping: FieldMapping) -> str:
    told = [transform["toHash"] for transform in mapping.transforms if "toHash" in transform]
    return str(told[-1]) if told else ""
