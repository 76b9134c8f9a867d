"""Every golden case of every protocol with the catalog that it is read against."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import msgspec

from tests.support import s2s, tracking_apps
from tests.support.golden import Case, load_cases, request_of
from trunkline.kit.protocol import Protocol, Request
from trunkline.model.snapshot import Plan, Snapshot
from trunkline.protocols.custom_event import CustomEventProtocol
from trunkline.protocols.jitsu import JitsuProtocol
from trunkline.protocols.push import PushProtocol
from trunkline.protocols.rest import RestProtocol
from trunkline.protocols.s2s import S2SProtocol
from trunkline.protocols.tracking import TrackingProtocol

FOLDER = Path(__file__).parents[1] / "protocols" / "golden"
_REPEAT = re.compile(r"\{\{(.+?)\*([0-9]+)\}\}")


class Staged(NamedTuple):
    """A case with its protocol, its request, and the catalog it is read against."""

    case: Case
    protocol: Protocol
    request: Request
    snapshot: Snapshot

    def __str__(self) -> str:
        return f"{self.protocol.name}-{self.case.name}"


def make_protocol(name: str) -> Protocol:
    """Return a protocol whose dice always fall alike."""
    if name == "s2s":
        return S2SProtocol(Random(7))
    if name == "rest":
        return RestProtocol()
    makers = {"tracking": TrackingProtocol, "jitsu": JitsuProtocol, "push": PushProtocol}
    return makers.get(name, CustomEventProtocol)(Random(7))


PROTOCOLS = {
    name: make_protocol(name)
    for name in ("s2s", "rest", "tracking", "jitsu", "custom_event", "push")
}


def stage_cases() -> Iterator[Staged]:
    """Yield every golden case that a request is decoded for."""
    for name, protocol in PROTOCOLS.items():
        support = s2s if name == "s2s" else tracking_apps
        received_ms = s2s.NOW_MS if name == "s2s" else tracking_apps.RECEIVED_MS
        for case in load_cases(FOLDER / name):
            if "x-test-failure" in case.headers:
                continue
            text = case.body.decode("utf-8", "surrogateescape")
            body = _REPEAT.sub(lambda match: match[1] * int(match[2]), text)
            sent = msgspec.structs.replace(case, body=body.encode("utf-8", "surrogateescape"))
            request = request_of(sent, protocol, received_ms, support.ADDRESS)
            snapshot = support.SNAPSHOT
            if "x-test-plan" in case.headers:
                snapshot = msgspec.structs.replace(snapshot, plan=Plan(features=()))
            yield Staged(case, protocol, request, snapshot)
