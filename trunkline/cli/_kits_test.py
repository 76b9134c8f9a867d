"""`trunkline kits test`: the fixtures of kits, run here; nothing is sent."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any

import cyclopts

from trunkline.cli._frame import CommandError, JsonOption, say, say_json
from trunkline.cli._kit_files import read_kit
from trunkline.kit.yaml_text import YamlError
from trunkline.kits.fixtures import FixtureResult, run_fixtures
from trunkline.kits.kit import Kit, KitError
from trunkline.kits.shipped import find_shipped, shipped_names


def test(
    *kits: str,
    show: Annotated[
        bool, cyclopts.Parameter(help="Show the requests that each fixture makes.")
    ] = False,
    json: JsonOption = False,
) -> int:
    """Run the fixtures of kits: events in, and exactly the requests that are written beside them.

    Without a name, those of every shipped kit. Sends nothing. The exit code is 1 where one fails.

    Example: `trunkline kits test acme-ads.yaml --show`

    Parameters
    ----------
    kits
        Files of kits, or names of shipped ones.
    """
    found = [(name, *_run(name)) for name in kits or shipped_names()]
    failed = sum(bool(reasons) or any(r.problems for r in rs) for _, reasons, rs in found)
    if json:
        say_json([_tree(*one) for one in found])
        return 1 if failed else 0
    for name, reasons, results in found:
        _say(name, reasons, results, is_showing=show)
    return 1 if failed else 0


def _run(name: str) -> tuple[list[str], list[FixtureResult]]:
    """Return why a kit cannot be run, or what its fixtures came to."""
    try:
        kit = _find(name)
    except KitError as error:
        return [*map(str, error.problems)], []
    except YamlError as error:
        return [str(error)], []
    results = run_fixtures(kit)
    return ([] if results else ["it has no fixtures; write some under `fixtures`"]), results


def _find(name: str) -> Kit:
    path = Path(name)
    if path.suffix in (".yaml", ".yml", ".json") or path.is_dir():
        return read_kit(path)
    kit = find_shipped(name)
    if kit is None:
        close = difflib.get_close_matches(name, shipped_names(), 1, 0.6)
        hint = f"did you mean {close[0]}?" if close else "write a file's name with its .yaml"
        raise CommandError(f"{name!r} is no shipped kit; {hint}")
    return kit


def _say(name: str, reasons: list[str], results: list[FixtureResult], *, is_showing: bool) -> None:
    passed = sum(result.has_passed for result in results)
    say(f"{name}: {passed} of {len(results)} fixtures passed")
    for reason in reasons:
        say(f"  {reason}")
    for result in results:
        for problem in result.problems:
            say(f"  {result.name}: {problem}")
        for request in result.requests if is_showing else ():
            say(f"  {result.name}: {request.method} {request.url}")
            for key, value in request.headers:
                say(f"    {key}: {value}")
            say(f"    {request.body.decode('utf-8', 'replace')}")


def _tree(name: str, reasons: list[str], results: list[FixtureResult]) -> dict[str, Any]:
    return {
        "kit": name,
        "problems": reasons,
        "fixtures": [
            {"name": r.name, "passed": r.has_passed, "problems": r.problems} for r in results
        ],
    }
