"""The gateway engine: takes a request through its life and answers when its events are durable.

    route → limits → body → decode → rate → append, shared → answer

One `Gateway` for each process, on one event loop. A 2xx for events is sent in one place only, the
committer, when the append that holds them returned. Everything that ends a request earlier is a
`Failure`, which the protocol puts into the words and the shape that its clients parse.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from trunkline.gateway import failures
from trunkline.gateway.addresses import Callers
from trunkline.gateway.bodies import OVERLOADED, Bodies, is_plain
from trunkline.gateway.committer import Committer
from trunkline.gateway.cors import cors_headers
from trunkline.gateway.exchange import Exchange, RequestIds
from trunkline.gateway.health import Health
from trunkline.gateway.http1_intake import Fault
from trunkline.gateway.http1_request import HttpRequest
from trunkline.gateway.inquiries import Inquiries
from trunkline.gateway.key_uses import KeyUses
from trunkline.gateway.limits import InFlight, RateLimiter, Wait
from trunkline.gateway.refusals import Refusals
from trunkline.gateway.routes import Match, Miss, RouteTable
from trunkline.gateway.spool import Spool, with_file
from trunkline.kit.clock import Clock
from trunkline.kit.desk import Desk
from trunkline.kit.eventlog import Appender, LogFailure, Record
from trunkline.kit.protocol import Answer, Decoded, Failure, Protocol, Request
from trunkline.kit.settings import GatewaySettings
from trunkline.model.record import AcceptedEvent, AcceptedRefusal, encode_record, partition_key
from trunkline.model.snapshot import Snapshot
from trunkline.state.key_uses import KeyUse
from trunkline.telemetry import gateway as telemetry

TURN_SECONDS = 1.0  # housekeeping: slow bodies, counted refusals, metrics
Work = Coroutine[Any, Any, None]  # what is left to do for a request, as a task

_OWN = "gateway"  # the label of what no protocol answers


class Gateway:
    """Takes events in for one process. Make it inside the event loop that serves it."""

    def __init__(
        self,
        *,
        protocols: Sequence[Protocol],
        appender: Appender,
        snapshot: Callable[[], Snapshot | None],
        settings: GatewaySettings,
        clock: Clock,
        stamp: Callable[[], int],
        key_uses_file: Path | None = None,
        desk: Desk | None = None,
        spool_folder: Path | None = None,
    ) -> None:
        """Raises `ValueError` for protocols that clash and proxies that are no addresses.

        `stamp` gives nanoseconds that grow, in all gateway processes of the node alike.
        `key_uses_file` keeps when this process saw which key. `desk` answers questions.
        Files that are larger than memory go to `spool_folder`.
        """
        self._routes = RouteTable(protocols)
        self._callers = Callers(settings.trusted_proxies)
        self._snapshot = snapshot
        self._clock = clock
        self._stamp = stamp
        self._ids = RequestIds()
        self._tally = telemetry.Tally()
        self._inflight = InFlight(settings.inflight_requests_max, settings.inflight_bytes_max)
        self._limiter = RateLimiter(clock)
        self._key_uses = KeyUses(key_uses_file, clock)
        self._refusals = Refusals(stamp, self._tally)
        self._committer = Committer(appender, self._refusals, clock)
        self._bodies = Bodies(self._inflight, settings.body_seconds_max, clock)
        self._spool = Spool(spool_folder, settings.import_bytes_max, clock)
        self._inquiries = Inquiries(desk)
        self._health = Health(self._committer, snapshot, clock)
        self._housekeeping: asyncio.Task[None] | None = None

    @property
    def clock(self) -> Clock:
        """The clock that it goes by."""
        return self._clock

    @property
    def inflight(self) -> InFlight:
        """What is being worked on now."""
        return self._inflight

    @property
    def key_uses(self) -> Mapping[str, KeyUse]:
        """When this process saw which key, by `use_id`."""
        return self._key_uses.uses

    @property
    def bodies_being_read(self) -> int:
        """How many requests are still arriving."""
        return self._bodies.reading + self._spool.uploads

    def start(self) -> None:
        """Begin housekeeping. Without it slow bodies are not cut and counts are not told."""
        if self._housekeeping is None:
            self._housekeeping = asyncio.create_task(self._keep_house())

    def stop_soon(self) -> None:
        """Turn `/health/ready` to no: balancers should send elsewhere."""
        self._health.is_stopping = True

    def cut_bodies(self) -> None:
        """Stop waiting for bodies that are still arriving: each is answered 408."""
        self._bodies.cut_all()
        self._spool.cut_all()

    async def close(self) -> None:
        """Take no more events, make durable what was gathered, let its requests be answered."""
        self.stop_soon()
        await self._committer.close()
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            await asyncio.wait({self._housekeeping})
            self._housekeeping = None
        self._spool.close()
        await self._key_uses.close(self._snapshot())
        self._tally.flush(self._inflight.requests, self._inflight.bytes)

    def begin(self, request: HttpRequest) -> Work | None:
        """Take a request: see `http1.Application`. Never raises.

        What is plain, and in hand, is judged and handed to the committer here and now: no task, no
        turn of the loop. Measured under load: see docs/decisions/0016-gateway-server.md.
        """
        exchange = Exchange(request, request, self._ids)
        self._inflight.requests += 1
        body = request.whole_body
        if body is None:
            return self._finish(exchange)
        try:
            found = self._routes.find(exchange.method, exchange.path)
            if (
                isinstance(found, Match)
                and not found.route.is_spooled
                and is_plain(exchange.headers, body, found.route)
                and self._has_room(len(body))
            ):
                return self._begin_plain(exchange, found, body)
        except Exception as error:  # the edge: whatever broke, the client is told to send again
            self._broke(exchange, error)
            self._end(exchange)
            return None
        return self._finish(exchange)

    def _begin_plain(self, exchange: Exchange, match: Match, body: bytes) -> Work | None:
        exchange.held = len(body)
        self._inflight.bytes += len(body)
        asking = self._judge(exchange, match, body if match.route.method == "POST" else b"")
        if asking is not None:
            return self._finish(exchange, asking)
        self._end(exchange)
        return None

    def describe_fault(self, fault: Fault) -> tuple[list[tuple[str, str]], bytes]:
        """Say what is wrong with what is no request, to be answered by the server below."""
        self._tally.requests[_OWN, fault.status // 100] += 1
        retry = [("retry-after", "1")] if fault.status == 503 else []
        return [
            ("content-type", "application/json"),
            ("x-request-id", self._ids.choose(None)),
            *cors_headers(None),
            *retry,
        ], failures.describe(fault.code, fault.sentence)

    async def _finish(self, exchange: Exchange, asking: Work | None = None) -> None:
        """Answer a request that is not plain, or whose body may still be arriving."""
        try:
            if asking is None:
                found = self._routes.find(exchange.method, exchange.path)
                if isinstance(found, Match):
                    asking = await self._take(exchange, found)
                else:
                    await self._answer_other(exchange, found)
            if asking is not None:
                await asking
        except Exception as error:  # the edge: whatever broke, the client is told to send again
            self._broke(exchange, error)
        finally:
            self._end(exchange)

    def _broke(self, exchange: Exchange, error: Exception) -> None:
        telemetry.request_broke(exchange.request_id, exchange.method, exchange.path, error)
        self._send_failure(exchange, None, failures.INTERNAL)

    def _end(self, exchange: Exchange) -> None:
        """Let go of what a request holds, unless the committer still has it answered."""
        if not exchange.is_gathered:
            self._inflight.requests -= 1
            self._inflight.bytes -= exchange.held

    # The hot path. Measured: 20 µs of CPU a request that is stored, without the network
    # (docs/guide/performance.md).

    async def _take(self, exchange: Exchange, match: Match) -> Work | None:
        protocol, route, _ = match
        if route.is_spooled:
            return await self._take_file(exchange, match)
        failure = self._find_obstacle()
        if failure is not None:
            await self._fail_unread(exchange, protocol, failure)
            return None
        if route.method != "POST":
            asking = self._judge(exchange, match, b"")
            await self._bodies.discard(exchange)
            return asking
        body = await self._bodies.read(exchange, route)
        if isinstance(body, Failure):
            self._tally.cut[body.code] += 1
            await self._fail_unread(exchange, protocol, body)
            return None
        return self._judge(exchange, match, body)

    def _judge(self, exchange: Exchange, match: Match, body: bytes) -> Work | None:
        """Answer, or have it answered by the committer; or return what asks the desk first."""
        protocol = match.protocol
        self._tally.received_bytes += len(body)
        snapshot = self._snapshot()
        if snapshot is None:  # it was there a moment ago: they are swapped, never taken away
            self._send_failure(exchange, protocol, failures.NOT_LOADED)
            return None
        address = self._callers.find(
            exchange.scope.client, exchange.headers.get("x-forwarded-for", "")
        )
        decoded = self._decode(exchange, match, body, snapshot, address)
        if isinstance(decoded, Failure):
            self._send_failure(exchange, protocol, decoded)
        elif decoded.inquiry is not None:
            return self._ask(exchange, protocol, decoded)
        elif exchange.method == "HEAD":
            self._send(exchange, protocol, decoded)
        else:
            self._key_uses.note(decoded, exchange.headers)
            if decoded.accepted:
                self._send_stored(exchange, protocol, decoded, snapshot, address)
            else:
                self._send(exchange, protocol, decoded)
        return None

    def _send_stored(
        self,
        exchange: Exchange,
        protocol: Protocol,
        decoded: Decoded,
        snapshot: Snapshot,
        address: str,
    ) -> None:
        wait = self._limiter.admit(snapshot, decoded.accepted, address)
        if wait is not None:
            self._send_failure(exchange, protocol, self._refuse_rate(decoded.accepted, wait))
            return
        # The answer is made now, while the append before this one runs.
        tell = partial(self._tell, exchange, protocol, decoded, exchange.prepare(decoded.answer))
        if self._store(decoded.accepted, tell):
            exchange.is_gathered = True
        else:
            self._send_failure(exchange, protocol, OVERLOADED)

    def _tell(
        self,
        exchange: Exchange,
        protocol: Protocol,
        decoded: Decoded,
        head: str,
        failure: LogFailure | None,
    ) -> None:
        """Say yes, or that it could not be made durable: the committer calls it."""
        exchange.is_gathered = False
        try:
            if failure is None:
                exchange.proto.answer(head, decoded.answer.body)
                self._tally.accepted[protocol.name] += len(decoded.accepted)
                self._answered(exchange, protocol, decoded)
            else:
                self._send_failure(exchange, protocol, failures.unavailable(failure))
        except Exception as error:  # the edge: the others of the group are told all the same
            self._broke(exchange, error)
        finally:
            self._end(exchange)

    def _decode(
        self, exchange: Exchange, match: Match, body: bytes, snapshot: Snapshot, address: str
    ) -> Decoded | Failure:
        request = Request(
            match.route,
            exchange.path,
            match.params,
            exchange.scope.query_string,
            exchange.headers,
            body,
            address,
            self._clock.now_ms(),
            exchange.request_id,
        )
        try:
            return match.protocol.decode(request, snapshot)
        except Exception as error:  # the edge of the shelf: a protocol's defect, told in its shape
            telemetry.request_broke(exchange.request_id, exchange.method, exchange.path, error)
            return failures.INTERNAL

    def _store(
        self, accepted: Sequence[AcceptedEvent], tell: Callable[[LogFailure | None], None]
    ) -> bool:
        """Hand events over for the next append; False where there is no room for them."""
        # Stamped when it is complete, just before it is gathered: so stamps grow within the
        # partition, and what was answered before this came has a smaller one in every process.
        stamp = self._stamp()
        records: list[Record] = []
        size = 0
        for event in accepted:
            value = encode_record(event)
            size += len(value)
            records.append(Record(partition_key(event.app, event.user), value, stamp))
        has_room = self._committer.gather(records, size, tell)
        if not has_room:
            self._tally.overloaded += 1
        return has_room

    async def _ask(self, exchange: Exchange, protocol: Protocol, decoded: Decoded) -> None:
        assert decoded.inquiry is not None
        self._key_uses.note(decoded, exchange.headers)
        answer = await self._inquiries.ask(decoded.inquiry)
        if isinstance(answer, Failure):
            self._send_failure(exchange, protocol, answer)
        else:
            self._send(exchange, protocol, msgspec.structs.replace(decoded, answer=answer))

    async def _take_file(self, exchange: Exchange, match: Match) -> None:
        """Judge a request before its body, which goes to a file; then the desk has it."""
        protocol, snapshot, obstacle = match.protocol, self._snapshot(), self._find_obstacle()
        if obstacle is not None or snapshot is None:
            await self._fail_unread(exchange, protocol, obstacle or failures.NOT_LOADED)
            return
        address = self._callers.find(
            exchange.scope.client, exchange.headers.get("x-forwarded-for", "")
        )
        decoded = self._decode(exchange, match, b"", snapshot, address)
        if isinstance(decoded, Failure):
            await self._fail_unread(exchange, protocol, decoded)
        elif decoded.inquiry is None:
            self._key_uses.note(decoded, exchange.headers)
            self._send(exchange, protocol, decoded)
            await self._bodies.discard(exchange)
        else:
            file = await self._spool.receive(exchange)
            if isinstance(file, Failure):
                self._tally.cut[file.code] += 1
                await self._fail_unread(exchange, protocol, file)
                return
            with closing(file):  # it is held until the desk has it in its books
                self._tally.received_bytes += file.size
                await self._ask(exchange, protocol, with_file(decoded, file))

    def _send(self, exchange: Exchange, protocol: Protocol, decoded: Decoded) -> None:
        exchange.send_answer(decoded.answer)
        self._answered(exchange, protocol, decoded)

    def _answered(self, exchange: Exchange, protocol: Protocol, decoded: Decoded) -> None:
        self._tally.requests[protocol.name, decoded.answer.status // 100] += 1
        # HEAD is GET without its effects: a link checker must not make an event of a pixel.
        if decoded.refused and exchange.method != "HEAD":
            self._keep_refusals(decoded.refused)

    # Everything that goes another way.

    def _find_obstacle(self) -> Failure | None:
        if not self._has_room(0):
            self._tally.overloaded += 1
            return OVERLOADED
        if self._snapshot() is None:
            return failures.NOT_LOADED
        return None

    def _has_room(self, size: int) -> bool:
        inflight = self._inflight
        return inflight.requests <= inflight.requests_max and (
            inflight.bytes + size < inflight.bytes_max
        )

    def _refuse_rate(self, accepted: Sequence[AcceptedEvent], wait: Wait) -> Failure:
        failure = failures.rate_limited(wait)
        self._tally.rate_limited += len(accepted)
        self._keep_refusals([_refusal(event, failure) for event in accepted])
        return failure

    def _keep_refusals(self, refused: Sequence[AcceptedRefusal]) -> None:
        self._refusals.add(refused)
        self._committer.nudge()

    async def _answer_other(self, exchange: Exchange, miss: Miss) -> None:
        if exchange.method == "OPTIONS":
            exchange.send_preflight()
        elif exchange.path.startswith("/health/"):
            await self._answer_health(exchange)
        else:
            await self._answer_miss(exchange, miss)

    async def _answer_miss(self, exchange: Exchange, miss: Miss) -> None:
        if miss.allow:
            failure = failures.wrong_method(exchange.method, exchange.path, miss.allow)
        else:
            failure = failures.no_such_path(exchange.path)
        more = (("allow", ", ".join(miss.allow)),) if miss.allow else ()
        await self._fail_unread(exchange, miss.protocol, failure, more)

    async def _answer_health(self, exchange: Exchange) -> None:
        if exchange.path.rstrip("/") not in ("/health/live", "/health/ready"):
            await self._answer_miss(exchange, Miss(None, ()))
        elif exchange.method not in ("GET", "HEAD"):
            await self._answer_miss(exchange, Miss(None, ("GET", "HEAD", "OPTIONS")))
        elif exchange.path.rstrip("/") == "/health/live":
            exchange.send(200, b'{"status":"live"}')
        else:
            fault = await self._health.find_fault()
            status = {"status": "unready", "reason": fault} if fault else {"status": "ready"}
            more = (("retry-after", "5"),) if fault else ()
            exchange.send(503 if fault else 200, msgspec.json.encode(status), more=more)

    async def _fail_unread(
        self,
        exchange: Exchange,
        protocol: Protocol | None,
        failure: Failure,
        more: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Answer at once, and then read on for a while: see `bodies`."""
        reads_on = failure.code not in ("timeout", "bad_encoding")
        if failure.code == "timeout" or (reads_on and not self._bodies.may_discard(exchange)):
            exchange.proto.end_after()
        self._send_failure(exchange, protocol, failure, more)
        if reads_on:
            await self._bodies.discard(exchange)

    def _send_failure(
        self,
        exchange: Exchange,
        protocol: Protocol | None,
        failure: Failure,
        more: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self._tally.requests[protocol.name if protocol else _OWN, failure.status // 100] += 1
        answer = failures.shape_failure(protocol, exchange.path, failure)
        if more:
            answer = Answer(
                answer.status, answer.body, answer.content_type, (*answer.headers, *more)
            )
        exchange.send_answer(answer, failure.retry_after_seconds)

    async def _keep_house(self) -> None:
        while True:
            await self._clock.sleep(TURN_SECONDS)
            try:
                self._turn()
            except Exception as error:  # the edge of the loop: told, and the next turn is tried
                telemetry.housekeeping_broke(error)

    def _turn(self) -> None:
        self._bodies.cut_slow()
        self._spool.cut_stalled()
        self._refusals.fold_out()
        self._committer.nudge()
        self._key_uses.write_soon(self._snapshot())
        self._tally.flush(self._inflight.requests, self._inflight.bytes)


def _refusal(event: AcceptedEvent, failure: Failure) -> AcceptedRefusal:
    # No body: the gateway cannot redact one, and the event will come again.
    return AcceptedRefusal(
        app=event.app,
        protocol=event.protocol,
        key=event.key,
        snapshot=event.snapshot,
        received_ms=event.received_ms,
        address=event.address,
        request_id=event.request_id,
        code=failure.code,
        message=failure.sentence,
        message_id=event.message_id,
        body=b"",
    )
