"""A kit as a person reads it: what to fill in, which events, which requests, how to begin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trunkline.kits.answers import conditions
from trunkline.kits.connection import RequestSpec
from trunkline.kits.kit import Kit
from trunkline.kits.params import Param

_NAMES_SHOWN = 200


def kit_facts(kit: Kit) -> dict[str, Any]:
    """Return what `kits show --json` tells beside the line of `kits list`."""
    return {
        "description": str(kit.metadata.get("description") or ""),
        "params": [_param_fact(param) for param in kit.params],
        "events": kit.events,
        "requests": [_request_fact(spec) for spec in kit.way.requests()],
        "answers": conditions(kit.way.answers),
    }


def _param_fact(param: Param) -> dict[str, Any]:
    return {
        "name": param.name,
        "required": param.is_required,
        "default": param.default,
        "example": param.example,
        "description": param.description,
        "sensitive": param.is_sensitive,
    }


def _request_fact(spec: RequestSpec) -> dict[str, Any]:
    return {
        "event": spec.name,
        "method": spec.method,
        "endpoint": spec.endpoint,
        "encoding": spec.encoding,
        "batchSize": spec.batch_max,
        "auth": f"providerAuth {spec.auth.provider}" if spec.auth.provider else spec.auth.kind,
        "transform": spec.transform.lang if spec.transform else "",
    }


def kit_lines(kit: Kit) -> Iterator[str]:
    """Yield the page of `kits show`."""
    yield " ".join(filter(None, (f"{kit.title} ({kit.name})", kit.version)))
    if description := str(kit.metadata.get("description") or "").strip():
        yield description
    if kit.cannot_send:
        yield f"It cannot send yet: {kit.cannot_send}. Its playbook can be used with another kind."
    yield from _param_lines(kit)
    yield ""
    yield "Events with a section of their own: " + (", ".join(kit.events[:_NAMES_SHOWN]) or "none")
    yield from _request_lines(kit)
    if not kit.cannot_send:
        yield ""
        yield "A destination of a workspace file:"
        yield ""
        yield example_workspace(kit).rstrip("\n")


def _param_lines(kit: Kit) -> Iterator[str]:
    yield ""
    yield "Params:" if kit.params else "Params: none"
    width = max((len(param.name) for param in kit.params), default=0)
    for param in kit.params:
        need = "required" if param.is_required else f"default {param.default!r}"
        need = "optional" if param.is_optional and param.default is None else need
        said = "; ".join(filter(None, (need, _example_of(param), param.description)))
        yield f"  {param.name:{width}}  {said}"


def _example_of(param: Param) -> str:
    return f"for example {param.example}" if param.example else ""


def _request_lines(kit: Kit) -> Iterator[str]:
    requests = kit.way.requests()
    if requests:
        yield ""
        yield "Requests:"
    for spec in requests:
        fact = _request_fact(spec)
        parts = [spec.encoding, f"{spec.batch_max} a request", f"auth: {fact['auth']}"]
        if spec.transform is not None:
            parts.append(f"changed by its transform ({spec.transform.lang}, in the jail)")
        yield f"  {spec.name}: {spec.method} {spec.endpoint} ({'; '.join(parts)})"
    yield from (f"  answers, {line}" for line in conditions(kit.way.answers))


def example_workspace(kit: Kit) -> str:
    """Return the lines of a destination of this kit for a workspace file."""
    lines = [
        f"- id: {kit.name}",
        "  kind: http_kit",
        "  settings:",
        f"    kit: {kit.name}",
    ]
    needed = [param for param in kit.params if param.is_required]
    if needed:
        lines.append("    params:")
        lines += [f"      {param.name}: {{env: {_variable(kit, param)}}}" for param in needed]
    return "\n".join(lines) + "\n"


def _variable(kit: Kit, param: Param) -> str:
    prefix = "".join(ch if ch.isalnum() else "_" for ch in kit.name).upper()
    return f"{prefix}_{param.name.upper()}"
