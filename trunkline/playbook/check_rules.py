"""Reading what a section makes: enrichments, mappings, expressions, spreadings; and functions."""

from __future__ import annotations

from typing import Any

from trunkline.playbook.nodes import Node, near_miss, one_of
from trunkline.playbook.paths import read_input_path, read_output_path
from trunkline.playbook.reading import MARK, Reading
from trunkline.playbook.spec import (
    CODE_BYTES_MAX,
    DEFAULT_KEYS,
    OUTPUT_DEPTH_MAX,
    STATIC_KEYS,
    Enrichment,
    Expression,
    FieldMapping,
    Flatten,
    Function,
    Param,
    Spreading,
    Tree,
)
from trunkline.playbook.transforms import TRANSFORMS

_CLOCKS = ("seconds", "milliseconds")
_CONSTANTS = (*STATIC_KEYS, "timestamp", "uuid")
_PARAM_FIELDS = (
    "name", "exampleValue", "defaultValue", "description", "isOptional", "isSensitive",
)  # fmt: skip


def read_param(node: Node) -> Param:
    """Read one param, telling what is wrong with it."""
    fields = node.fields(_PARAM_FIELDS, ("name",))
    name = fields["name"].text() if "name" in fields else "NAME"
    if not MARK.fullmatch(f"$${name}$$"):
        node.complain(f"{name[:100]!r} is no name; expected letters, digits and _, as API_KEY")
    texts = {key: fields[key].scalar_text() for key in _PARAM_FIELDS[1:4] if key in fields}
    flags = {key: fields[key].flag() for key in _PARAM_FIELDS[4:] if key in fields}
    return Param(
        name,
        texts.get("exampleValue", ""),
        texts.get("defaultValue"),
        texts.get("description", ""),
        flags.get("isOptional", False),
        flags.get("isSensitive", False),
    )


def read_enrichment(node: Node, reading: Reading) -> Enrichment:
    """Read one constant."""
    fields = node.fields(("outputKey", *_CONSTANTS), ("outputKey",))
    found = [key for key in _CONSTANTS if key in fields]
    if len(found) != 1:
        node.complain(f"holds {len(found)} values; expected one: {one_of(_CONSTANTS)}")
    values: dict[str, Any] = {key: _read_constant(key, fields[key], reading) for key in found}
    return Enrichment(
        read_output_path(fields["outputKey"]) if "outputKey" in fields else "",
        values.get("staticString"),
        values.get("staticInt"),
        values.get("staticFloat"),
        values.get("staticBool"),
        values.get("timestamp"),
        values.get("uuid"),
    )


def _read_constant(key: str, node: Node, reading: Reading) -> Any:
    if key.endswith("Int"):
        return reading.whole(node)
    if key.endswith("Float"):
        return reading.number(node)
    if key.endswith("Bool"):
        return reading.flag(node)
    if key == "timestamp":
        return node.choice(_CLOCKS)
    return node.choice(("v4",)) if key == "uuid" else node.text()


def read_mapping(node: Node, reading: Reading) -> FieldMapping:
    """Read one mapping."""
    known = ("inputKey", "outputKey", "transforms", *DEFAULT_KEYS)
    fields = node.fields(known, ("inputKey", "outputKey"))
    defaults = [key for key in DEFAULT_KEYS if key in fields]
    if len(defaults) > 1:
        node.complain(f"holds {len(defaults)} defaults; keep one")
    values: dict[str, Any] = {key: _read_constant(key, fields[key], reading) for key in defaults}
    transforms = reading.entries(fields, "transforms")
    return FieldMapping(
        read_input_path(fields["inputKey"]) if "inputKey" in fields else "input",
        _read_output_key(fields.get("outputKey")),
        tuple(_read_transform(transform, reading) for transform in transforms),
        values.get("defaultString"),
        values.get("defaultInt"),
        values.get("defaultFloat"),
        values.get("defaultBool"),
    )


def _read_output_key(node: Node | None) -> str:
    return read_output_path(node) if node and node.value != "" else ""


def _read_transform(node: Node, reading: Reading) -> Tree:
    named = node.named()
    if len(named) != 1:
        node.complain(f"holds {len(named)} transforms; expected one; each stands for itself")
        return {}
    ((name, below),) = named.items()
    if name == "expression":
        expression = read_expression(below)
        return {name: {"lang": expression.lang, "body": expression.body, **_named(expression.name)}}
    if name not in TRANSFORMS:
        node.complain(f"{name[:80]!r} is no transform{near_miss(name, _transform_names())}")
    elif not reading.is_open(below.value):
        try:
            TRANSFORMS[name].prepare(below.value)
        except ValueError as error:
            below.complain(str(error))
    return {name: below.value}


def _named(name: str) -> Tree:
    return {"name": name} if name else {}


def _transform_names() -> list[str]:
    return [*TRANSFORMS, "expression"]


def read_expression(node: Node) -> Expression:
    """Read an expression: code that reads `input` and returns."""
    fields = node.fields(("lang", "body", "name"), ("lang", "body"))
    if "lang" in fields and fields["lang"].value in ("python", "javascript"):
        fields["lang"].complain("an expression is Lua; Python and JavaScript go into `functions`")
    elif "lang" in fields:
        fields["lang"].choice(("lua",))
    name = fields["name"].text() if "name" in fields else ""
    return Expression("lua", _read_body(fields.get("body")), name)


def _read_body(node: Node | None) -> str:
    body = node.text() if node else ""
    size = len(body.encode("utf-8", "surrogatepass"))
    if node and size > CODE_BYTES_MAX:
        node.complain(f"has {size} bytes of code; at most {CODE_BYTES_MAX} are taken")
    return body


def read_spreading(node: Node) -> Spreading:
    """Read an object that is spread into the output."""
    fields = node.fields(("inputKey", "flatten"), ("inputKey", "flatten"))
    path = read_input_path(fields["inputKey"]) if "inputKey" in fields else "input"
    flatten = _read_flatten(fields["flatten"]) if "flatten" in fields else Flatten("_")
    return Spreading(path, flatten)


def _read_flatten(node: Node) -> Flatten:
    fields = node.fields(("separator", "prefix", "depth"), ("separator",))
    return Flatten(
        fields["separator"].text() if "separator" in fields else "_",
        fields["prefix"].text() if "prefix" in fields else "",
        fields["depth"].whole(0, OUTPUT_DEPTH_MAX) if "depth" in fields else 0,
    )


def read_function(node: Node) -> Function:
    """Read a function over whole events, or whole outputs."""
    fields = node.fields(("lang", "when", "body", "name"), ("lang", "when", "body"))
    if "lang" in fields and fields["lang"].value == "lua":
        fields["lang"].complain("a function is Python or JavaScript; Lua goes into `expressions`")
        lang = "python"
    else:
        lang = fields["lang"].choice(("python", "javascript")) if "lang" in fields else "python"
    when = fields["when"].choice(("before", "after")) if "when" in fields else "before"
    name = fields["name"].text() if "name" in fields else ""
    return Function(
        lang, "after" if when == "after" else "before", _read_body(fields.get("body")), name
    )
