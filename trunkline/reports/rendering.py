"""Making again what was sent, or would be: the output of a revision, and the request that holds it.

Only answers are kept, so what was sent is rendered from the event, the revision and the moment of
the attempt, which decide it. What holds code of an operator is run in a jail where the caller has
one, and else said to need it. Secrets do not show.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, quote_plus

import msgspec
from msgspec import Struct

from trunkline.kit.destination import (
    Attempt,
    Call,
    Channel,
    Destination,
    Mapped,
    Request,
    Settings,
)
from trunkline.kit.shapers import InProcess, Programs, encode_output, moment_of
from trunkline.kit.shaping import CodeHeld, Held, Shaper, Work, Workshop
from trunkline.model.snapshot import Destination as Configured
from trunkline.playbook.check import parse_playbook
from trunkline.playbook.program import CodeError, PlaybookError, Shaped
from trunkline.reports.hashed import hash_notes

Kinds = Mapping[str, type[Destination[Any]] | type[Channel[Any]]]
FindPlaybook = Callable[[Configured, int], bytes | None]
MakeWorkshop = Callable[[], Workshop]
T = TypeVar("T")

REQUEST_BYTES_MAX = 16_384
HIDDEN = "(hidden)"
HIDDEN_HEADERS = frozenset({"authorization", "x-trunkline-signature", "x-api-key", "cookie"})
NEEDS_JAIL = "holds code, which needs the jail to be run again"
SECRET_LENGTH_MIN = 4  # a shorter value is no secret, and would blot out half the text
_SECRET_NAME = re.compile("SECRET|TOKEN|PASS|KEY|CREDENTIAL|SIGN", re.IGNORECASE)


class RequestLine(Struct, frozen=True, rename="camel"):
    """A request, rendered again. Secrets are hidden, a long body is cut."""

    method: str
    url: str
    headers: dict[str, str]
    body: str


class Output(NamedTuple):
    """What a revision makes of events, one answer each; or none of them, and `note` says why."""

    shaped: list[Shaped]
    note: str = ""


class Rendered(NamedTuple):
    """The request, or None; `note` says what is not as it was sent, or why there is none.

    `changes` has for each event what was changed of it before it was sent.
    """

    request: RequestLine | None
    note: str = ""
    changes: Sequence[Sequence[str]] = ()


class Renderer:
    """Renders for destinations. `find_playbook` gives the JSON of a revision; None: not there."""

    def __init__(
        self,
        kinds: Kinds,
        find_playbook: FindPlaybook,
        make_workshop: MakeWorkshop | None = None,
    ) -> None:
        self._kinds = kinds
        self._find = find_playbook
        self._found: dict[tuple[int, int], bytes | None] = {}
        self._make_workshop = make_workshop
        self._programs = Programs()

    def _find_playbook(self, destination: Configured, revision: int) -> bytes | None:
        key = (destination.uid, revision)
        if key not in self._found:
            self._found[key] = self._find(destination, revision)
        return self._found[key]

    def has_playbook(self, destination: Configured, revision: int) -> bool:
        """Say whether a revision shapes events; else they go as they are."""
        return bool(self._find_playbook(destination, revision))

    def hashed(
        self, destination: Configured, revision: int, sent: Sequence[Mapped]
    ) -> list[list[str]]:
        """Return for each thing sent what a revision hashed of its event. Never raises."""
        playbook = self._find_playbook(destination, revision)
        if not playbook:
            return [[] for _ in sent]
        try:
            parsed = parse_playbook(msgspec.json.decode(playbook))
        except (PlaybookError, msgspec.DecodeError):
            return [[] for _ in sent]
        return [hash_notes(parsed, each.event, each.value) for each in sent]

    def shape(
        self,
        destination: Configured,
        revision: int,
        events: Sequence[Mapped],
        at_ms: int | Sequence[int],
    ) -> Output:
        """Shape events as a revision does at a moment, or each at its own. Never raises."""
        playbook = self._find_playbook(destination, revision)
        if playbook is None:
            return Output([], f"revision {revision} is not in the catalog any more")
        settings = _settings(self._kinds, destination)
        params = settings.params if settings is not None else {}
        work = Work(f"{destination.app}/{destination.id}", playbook, params)
        return self.shape_by(work, f"revision {revision}", events, at_ms)

    def shape_by(
        self,
        work: Work,
        told: str,
        events: Sequence[Mapped],
        at_ms: int | Sequence[int],
        *,
        explain: bool = False,
    ) -> Output:
        """Shape events by any playbook, called `told` in notes. Never raises."""
        if not work.playbook:
            return Output([Shaped((event.value,)) for event in events])
        moments = [at_ms] * len(events) if isinstance(at_ms, int) else at_ms
        given = [
            (event.value, moment_of(work.name, event.message_id, at))
            for event, at in zip(events, moments, strict=True)
        ]
        try:
            program = self._programs.find(work.playbook, work.params)
            if program is not None:
                return Output(InProcess(program).shape_now(given, explain=explain))
            if self._make_workshop is None:
                return Output([], f"{told} {NEEDS_JAIL}")
            answers = _in_jail(
                self._make_workshop, work, lambda shaper: shaper.shape(given, explain=explain)
            )
        except (PlaybookError, CodeHeld, msgspec.DecodeError) as error:
            return Output([], f"{told} cannot be run: {error}")
        held = next((answer for answer in answers if isinstance(answer, Held)), None)
        if held is not None:
            return Output([], f"{told} cannot be run now: {held.reason}")
        return Output([answer for answer in answers if isinstance(answer, Shaped)])

    def request(
        self,
        destination: Configured,
        mapped: Sequence[Mapped],
        attempt: Attempt,
        *,
        runs_code: bool = True,
    ) -> Rendered:
        """Render the request that carries what was shaped. Never raises.

        Without `runs_code` it is shown before a transform of the connection.
        """
        kind = self._kinds.get(destination.kind)
        if kind is None or not issubclass(kind, Destination):
            return Rendered(None)
        try:
            component = kind(msgspec.json.decode(destination.settings, type=kind.settings_type))
            changes = component.notes(mapped, attempt)
            request = component.build(mapped, attempt)
        except ValueError as error:  # msgspec's are such
            return Rendered(None, f"no request can be made: {error}")
        note = ""
        if component.code() and not runs_code:
            note = "shown before the connection's transform"
        elif component.code():
            request, note = self._transform(component, destination, mapped, attempt, request)
        return Rendered(request_line(request, component.settings), note, changes)

    def _transform(
        self,
        component: Destination[Any],
        destination: Configured,
        mapped: Sequence[Mapped],
        attempt: Attempt,
        request: Request,
    ) -> tuple[Request, str]:
        """Have the connection's own code change the request, where there is a jail."""
        if self._make_workshop is None:
            return request, f"shown before the connection's transform, which {NEEDS_JAIL}"
        name = f"{destination.app}/{destination.id}"
        work = Work(name, b"", component.settings.params, component.code())
        try:
            changed = _in_jail(
                self._make_workshop,
                work,
                lambda shaper: _first_request(component, mapped, attempt, shaper),
            )
        except (PlaybookError, CodeHeld, CodeError) as error:
            return request, f"shown before the connection's transform, which fails: {error}"
        return (request, "shown before the connection's transform") if changed is None else (
            changed, "",
        )  # fmt: skip


async def _first_request(
    component: Destination[Any], mapped: Sequence[Mapped], attempt: Attempt, shaper: Shaper
) -> Request | None:
    """Return the first request behind calls of code; None where that is one for a token."""
    made = component.exchange(mapped, attempt)
    try:
        asked = next(made)
        while isinstance(asked, Call):
            asked = made.send(await shaper.call(asked.name, asked.values))
    except StopIteration:
        return None
    finally:
        made.close()
    is_delivery = any(name == "X-Trunkline-Delivery" for name, _ in asked.headers)
    return asked if is_delivery else None


def _in_jail(make_workshop: MakeWorkshop, work: Work, use: Callable[[Shaper], Awaitable[T]]) -> T:
    """Open a worker, use it, and let go of it, on an event loop of its own."""

    async def run() -> T:
        workshop = make_workshop()
        try:
            return await use(await workshop.open(work))
        finally:
            await workshop.close()

    return asyncio.run(run())


def mapped_outputs(events: Sequence[Mapped], shaped: Sequence[Shaped]) -> list[Mapped]:
    """Return what is sent of events, as their destination is given it."""
    sent: list[Mapped] = []
    for event, each in zip(events, shaped, strict=True):
        for output in each.outputs:
            body = encode_output(output)
            if isinstance(body, bytes):
                sent.append(msgspec.structs.replace(event, body=body, origin=event.body))
    return sent


def _settings(kinds: Kinds, destination: Configured) -> Settings | None:
    kind = kinds.get(destination.kind)
    if kind is None:
        return None
    try:
        return msgspec.json.decode(destination.settings, type=kind.settings_type)
    except msgspec.DecodeError:
        return None


def _secrets(settings: Settings) -> list[str]:
    """Return the values of params that do not show: said to be sensitive, or named like it."""
    connection: Any = getattr(settings, "connection", None) or {}
    told = {
        str(param.get("name"))
        for param in connection.get("params") or ()
        if param.get("isSensitive")
    }
    values = [
        value
        for name, value in settings.params.items()
        if len(value) >= SECRET_LENGTH_MIN and (name in told or _SECRET_NAME.search(name))
    ]
    spelled = {
        each for value in values for each in (value, quote(value, safe=""), quote_plus(value))
    }
    return sorted(spelled, key=len, reverse=True)


def request_line(request: Request, settings: Settings) -> RequestLine:
    """Return a request as it may be shown: no secret of the destination, at most 16 KiB of body."""
    secrets = _secrets(settings)
    headers = {
        name: HIDDEN if name.lower() in HIDDEN_HEADERS else _hide(value, secrets)
        for name, value in request.headers
    }
    body = _hide(request.body.decode("utf-8", "replace"), secrets)
    cut = "…" if len(body) > REQUEST_BYTES_MAX else ""
    return RequestLine(
        request.method, _hide(request.url, secrets), headers, body[:REQUEST_BYTES_MAX] + cut
    )


def shown_answer(answer: bytes, settings: Settings) -> str:
    """Return what a vendor answered as it may be shown: some repeat what they were sent."""
    return _hide(answer.decode("utf-8", "replace"), _secrets(settings))


def _hide(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return text
