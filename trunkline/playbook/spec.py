"""A playbook as it is written, in the key names of the public kits.

Only `parse_playbook` (check.py) makes one, so whoever holds one holds a playbook without mistakes:
paths are paths, every operator and transform is known, and `$$NAME$$` may stand in any text.
`encode` of msgspec gives its JSON again; `playbook_json` gives the canonical one.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

Action = Literal["allow", "deny"]
Tree = dict[str, Any]  # one key: the name of an operator or transform; its value: the argument

SECTION_PARTS = ("filters", "enrichments", "mappings", "expressions", "spreadings")
STATIC_KEYS = ("staticString", "staticInt", "staticFloat", "staticBool")
DEFAULT_KEYS = ("defaultString", "defaultInt", "defaultFloat", "defaultBool")

RULES_MAX = 500  # in the whole playbook
DEPTH_MAX = 12  # parts of a path, conditions inside each other
TEXT_MAX = 65_536  # characters of any one text
CODE_BYTES_MAX = 65_536
OUTPUT_BYTES_MAX = 1_048_576  # JSON of all that one event becomes
OUTPUT_DEPTH_MAX = 80  # the 64 levels that an event may have, below a path
ITEMS_MAX = 1000  # events that one event may become


class Param(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A value that each destination gives: `$$NAME$$` in any text. Without a default it must."""

    name: str
    example_value: str = ""
    default_value: str | None = None
    description: str = ""
    is_optional: bool = False
    is_sensitive: bool = False


class NameFilter(Struct, frozen=True):
    """Which events by name; the empty name matches none."""

    action: Action
    events: tuple[str, ...]


class ConditionFilter(Struct, frozen=True):
    """Which events by what they hold."""

    action: Action
    when: Tree


class Filter(Struct, frozen=True, rename="camel", omit_defaults=True):
    """One of the two. Allow: the event is dropped unless it holds; deny: dropped if it does."""

    by_event_names: NameFilter | None = None
    by_conditions: ConditionFilter | None = None


class Enrichment(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A constant, the attempt's time or an id. A static number may be text with a param in it."""

    output_key: str
    static_string: str | None = None
    static_int: int | str | None = None
    static_float: float | str | None = None
    static_bool: bool | str | None = None
    timestamp: str | None = None
    uuid: str | None = None


class FieldMapping(Struct, frozen=True, rename="camel", omit_defaults=True):
    """One value of the event to one key of the output. An empty `output_key` is the output."""

    input_key: str
    output_key: str
    transforms: tuple[Tree, ...] = ()
    default_string: str | None = None
    default_int: int | str | None = None
    default_float: float | str | None = None
    default_bool: bool | str | None = None


class Expression(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Code whose table is merged into the output."""

    lang: str
    body: str
    name: str = ""


class Flatten(Struct, frozen=True, rename="camel", omit_defaults=True):
    """How keys are joined; how many levels (0: all)."""

    separator: str
    prefix: str = ""
    depth: int = 0


class Spreading(Struct, frozen=True, rename="camel"):
    """An object whose values become keys of the output."""

    input_key: str
    flatten: Flatten


class Function(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Code that gets the whole event before the sections, or the whole output after them."""

    lang: str
    when: Literal["before", "after"]
    body: str
    name: str = ""


class Section(Struct, frozen=True, omit_defaults=True):
    """What is done to the events it is for; its parts run in this order."""

    filters: tuple[Filter, ...] = ()
    enrichments: tuple[Enrichment, ...] = ()
    mappings: tuple[FieldMapping, ...] = ()
    expressions: tuple[Expression, ...] = ()
    spreadings: tuple[Spreading, ...] = ()


EMPTY_SECTION = Section()


class Playbook(
    Struct,
    frozen=True,
    omit_defaults=True,
    rename={"every": "global", "event_specific": "eventSpecific"},
):
    """A whole playbook: `every` is the section `global`."""

    version: str = ""
    params: tuple[Param, ...] = ()
    every: Section = EMPTY_SECTION
    event_specific: dict[str, Section] = {}
    default: Section = EMPTY_SECTION
    functions: tuple[Function, ...] = ()
