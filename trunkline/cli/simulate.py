"""`trunkline simulate`: a vendor on loopback that takes and refuses events as the real one."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from typing import Annotated, Any

import cyclopts
import msgspec

from trunkline.cli._frame import CommandError, JsonOption, parse_moment, say, say_json
from trunkline.kit.clock import SystemClock
from trunkline.kits.shipped import shipped_kits
from trunkline.simulators.faults import FAULTS, Script, ScriptError
from trunkline.simulators.registry import simulators
from trunkline.simulators.server import Seen, SimulatorServer
from trunkline.simulators.simulator import Simulator

_TOLD_MAX = 20  # complaints of one request that are printed


def command(
    vendor: str | None = None,
    *,
    list_: Annotated[
        bool, cyclopts.Parameter(name="--list", negative="", help="Tell which vendors there are.")
    ] = False,
    port: Annotated[int, cyclopts.Parameter(help="Where to listen; 0 takes a free port.")] = 0,
    fault: Annotated[
        str, cyclopts.Parameter(help="What goes wrong, as throttled*3,reset or every:5=unavailable")
    ] = "",
    now: Annotated[
        str | None, cyclopts.Parameter(help="The vendor's time, where it shall stand still.")
    ] = None,
    exit_on_complaint: Annotated[
        bool, cyclopts.Parameter(negative="", help="End with exit code 1 at the first complaint.")
    ] = False,
    json: JsonOption = False,
) -> int:
    """Be a vendor on loopback until Ctrl-C: check what comes as it does, and tell each request.

    Prints the address, the credentials that it expects, and the lines of a workspace file that send
    there. Without a vendor it tells which there are.

    Example: trunkline simulate meta --port 9100 --fault throttled*3

    Parameters
    ----------
    vendor
        The vendor's name, as its kit has it.
    """
    if vendor is None or list_:
        _list(is_json=json)
        return 0
    kind = _find(vendor)
    clock = SystemClock()
    moment_ms = None if now is None else parse_moment(now, clock.now_ms())
    try:
        Script(fault, kind.own_faults)
    except ScriptError as error:
        raise CommandError(f"--fault: {error}") from error
    teller = _Teller(exit_on_complaint, is_json=json)
    server = SimulatorServer(kind(), clock, script=fault, moment_ms=moment_ms, on_seen=teller.tell)
    try:
        return asyncio.run(_serve(server, teller, port))
    except (OSError, OverflowError) as error:
        raise CommandError(
            f"127.0.0.1:{port} cannot be listened on ({error}); give another --port"
        ) from error


class _Teller:
    """Prints each request; `ended` is set when the command shall end."""

    def __init__(self, exits: bool, *, is_json: bool) -> None:
        self.ended = asyncio.Event()
        self.status = 0
        self.is_json = is_json
        self._exits = exits

    def tell(self, seen: Seen) -> None:
        """Print a request, and end at a complaint where that is wanted."""
        if self.is_json:
            say(msgspec.json.encode(seen).decode())
        else:
            for line in _request_lines(seen):
                say(line)
        if seen.complaints and self._exits:
            self.status = 1
            self.ended.set()


async def _serve(server: SimulatorServer, teller: _Teller, port: int) -> int:
    await server.start(port)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, teller.ended.set)
    try:
        if teller.is_json:
            say(msgspec.json.encode(_facts(server)).decode())
        else:
            for line in _page(server):
                say(line)
        await teller.ended.wait()
    finally:
        await server.close()
    return teller.status


def _find(vendor: str) -> type[Simulator]:
    known = simulators()
    if vendor not in known:
        raise CommandError(f"{vendor!r} cannot be simulated; there are: {', '.join(known)}")
    return known[vendor]


def _list(*, is_json: bool) -> None:
    every = simulators().values()
    if is_json:
        say_json([{"vendor": one.vendor, "title": one.title, "faults": one.own_faults}
                  for one in every])  # fmt: skip
        return
    width = max((len(one.vendor) for one in every), default=0)
    for one in every:
        say(f"{one.vendor:{width}}  {one.title}")


def _facts(server: SimulatorServer) -> dict[str, Any]:
    vendor = server.simulator
    return {
        "vendor": vendor.vendor,
        "url": server.url,
        "credentials": dict(vendor.credentials),
        "params": _params(vendor, server.url),
    }


def _page(server: SimulatorServer) -> Iterator[str]:
    vendor = server.simulator
    yield f"{vendor.title} is simulated at {server.url}"
    yield ""
    yield "It expects:"
    for name, value in vendor.credentials.items():
        yield f"  {name}: {_quoted(value)}"
    if params := _params(vendor, server.url):
        yield ""
        yield "A destination of a workspace file that sends there:"
        yield ""
        yield f"- id: {vendor.vendor}"
        yield "  kind: http_kit"
        yield "  settings:"
        yield f"    kit: {vendor.vendor}"
        yield "    allow_private_addresses: true"
        yield "    params:"
        yield from (f"      {name}: {_quoted(value)}" for name, value in params.items())
    yield ""
    yield f"Faults to ask for with --fault: {', '.join([*FAULTS, *vendor.own_faults])}"
    yield f"What it has: {server.url}/_simulator. Ctrl-C ends it."
    yield ""


def _params(vendor: Simulator, url: str) -> dict[str, str]:
    """Return the params of the vendor's kit that lead here; none where no kit is shipped."""
    kit = shipped_kits().get(vendor.vendor)
    if kit is None:
        return {}
    ours = {"baseurl": url, "tokenurl": url + next(iter(vendor.token_paths), "")}
    known = ours | {_plain(name): value for name, value in vendor.credentials.items()}
    return {
        param.name: known.get(_plain(param.name), param.example)
        for param in kit.params
        if param.is_required or _plain(param.name) in known
    }


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def _quoted(text: str) -> str:
    """Return a text as YAML takes it on one line, whatever stands in it."""
    return msgspec.json.encode(text).decode()


def _request_lines(seen: Seen) -> Iterator[str]:
    parts = [seen.method, seen.path, str(seen.status) if seen.status else "no answer"]
    parts.append(f"{seen.taken} taken")
    if seen.duplicates:
        parts.append(f"{seen.duplicates} duplicates")
    if seen.fault:
        parts.append(f"fault: {seen.fault}")
    yield "  ".join(parts)
    for one in seen.complaints[:_TOLD_MAX]:
        yield f"  complaint  {one.rule}  {one.where}: {one.message}"
