"""A kit of ours and the public kit of the same vendor, run on the same events and compared.

    event → playbook → connection → requests, flattened: path → value
    ours beside theirs → differences → what no row of `starter_differences` explains

Events are the semantic ones of shops and apps, from an Android app that shows pages; some come once
more from the web, from iOS, from a visitor and bare. What the vendors' tags leave on a page stands
at both places that kits read: `context.providers`, and `context.clickIds` and `context.ids`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import msgspec

from tests.support.kit_driving import NOW_MS, by_json, drive
from tests.support.kits import kit_params, read_kit
from tests.support.pages import ROOT
from tests.support.semantic_events import BARE, FULL
from tests.support.starter_differences import (
    EVENT_KINDS,
    FIELD_KINDS,
    Differences,
    Kind,
    pattern_of,
)
from trunkline.destinations.http_kit import HttpKit, HttpKitSettings
from trunkline.kit.destination import Call, Request, Response, map_event
from trunkline.kits.fixture_spec import KitFixture
from trunkline.kits.fixtures import fixture_params
from trunkline.kits.kit import Kit, parse_kit
from trunkline.kits.shipped import shipped_kits
from trunkline.model.event import JsonObject
from trunkline.playbook.compile import compile_playbook
from trunkline.playbook.lua_world import LuaLoader, LuaWorld
from trunkline.playbook.names import event_name
from trunkline.playbook.program import Moment

Fields = dict[str, Any]
ABSENT = object()
OF_EACH_REQUEST = {"idempotency-key", "x-trunkline-delivery"}  # ours, whatever the kit

CLICK_IDS = {
    "gclid": "Cj0K", "wbraid": "Cj8K", "ttclid": "ttclid-1", "ScCid": "ScCid-1", "epik": "epik-1",
    "rdt_cid": "rdt_cid-1", "li_fat_id": "6a4c3d", "msclkid": "msclkid-1", "twclid": "tw1",
}  # fmt: skip
IDS = {
    "appsflyer_id": "1795160000000-1234567890123456789", "adjust_adid": "adid-1",
    "kochava_device_id": "KA1", "fbc": "_fbc-1", "fbp": "_fbp-1", "ttp": "ttp-1",
    "sc_cookie1": "_scid-1", "ga_client_id": "1033501218.1368477899",
    "ga_app_instance_id": "0123456789abcdef0123456789abcdef",
    "ga_session_id": "1612345678", "hubspotutk": "hubspotutk-1", "uet_page_load_id": "mid-1",
}  # fmt: skip
ON_IOS: JsonObject = {
    "device": {
        "id": "B5372DB0-C21E-11E4-8DFC-AA07A5B093DB",
        "advertisingId": "AB1C2D3E-8cf0-11bd-b23e-10b96e40000d",
        "adTrackingEnabled": True,
        "attStatus": 3,
        "manufacturer": "Apple",
        "model": "iPhone16,2",
        "type": "ios",
    },
    "os": {"name": "iOS", "version": "17.5"},
    "userAgent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15",
}
NO_FIXTURE = KitFixture("beside", {}, 0, ())
ON_THE_WEB = ("Order Completed", "Product Added", "page")


class Difference(NamedTuple):
    """One difference: of a field, or of an event that one side alone sends."""

    kind: Kind
    event: str
    field: str = ""
    ours: Any = ABSENT
    theirs: Any = ABSENT

    @property
    def matched(self) -> str:
        """What patterns are compared with."""
        return self.event if self.kind in EVENT_KINDS else self.field

    def __str__(self) -> str:
        """Say it in words, without what to do."""
        if self.kind in EVENT_KINDS:
            return f"{self.event}: {self.kind.replace('_', ' ')}"
        return f"{self.event}: {self.field} is {_say(self.ours)} in ours, {_say(self.theirs)} there"


def _say(value: Any) -> str:
    return "absent" if value is ABSENT else msgspec.json.encode(value).decode()[:200]


@cache
def events() -> Mapping[str, JsonObject]:
    """Return the events by the names that `starter_differences` calls them by."""
    found: dict[str, JsonObject] = {event_name(event): _told_twice(event) for event in FULL}
    for name in ON_THE_WEB:
        found[f"{name} (web)"] = _on_the_web(found[name])
    found["Order Completed (ios)"] = _over(found["Order Completed"], ON_IOS)
    visitor = copy.deepcopy(found["Order Completed (web)"])
    del visitor["userId"], visitor["traits"]
    found["Order Completed (visitor)"] = visitor
    found["Order Completed (bare)"] = next(e for e in BARE if e.get("event") == "Order Completed")
    return found


def _told_twice(event: JsonObject) -> JsonObject:
    told = _over(event, {"clickIds": CLICK_IDS, "ids": IDS})
    providers = told["context"]["providers"]
    providers["appsFlyer"]["appsFlyerId"] = IDS["appsflyer_id"]
    providers["googleFirebase"]["appInstanceId"] = IDS["ga_app_instance_id"]
    return told


def _over(event: JsonObject, context: JsonObject) -> JsonObject:
    told = copy.deepcopy(event)
    told["context"].update(copy.deepcopy(context))
    return told


def _on_the_web(event: JsonObject) -> JsonObject:
    agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0 Safari"
    told = _over(event, {"userAgent": agent, "os": {"name": "Windows", "version": "10"}})
    for part in ("app", "device", "network"):
        del told["context"][part]
    return told


class Side:
    """One kit at work, in this process, with whatever code it has."""

    def __init__(self, kit: Kit, params: Mapping[str, str], places: Mapping[str, str]) -> None:
        empty = {one.name: "" for one in kit.params if one.is_optional}
        self._places = {**places, "body": ""}
        self._program = compile_playbook(kit.book, {**empty, **params}, LuaLoader())
        self._destination: HttpKit | None = None
        if not kit.cannot_send:
            tree = {"kit": kit.name, "connection": kit.settings_connection, "params": params}
            self._destination = HttpKit(msgspec.convert(tree, HttpKitSettings))
            world, code = LuaWorld(), self._destination.code()
            self._code = {name: world.expression(one.body, one.reads) for name, one in code.items()}

    def send(self, event: JsonObject) -> Fields:
        """Return the fields of all requests of an event: none where it is not sent.

        A kit that cannot send here has the fields of what its playbook made. Those of a second
        request begin with `request-2.`, and so on.
        """
        moment = Moment(NOW_MS, event["messageId"])
        shaped = self._program.shape(copy.deepcopy(event), moment)
        assert shaped.failure is None, shaped.failure
        if self._destination is None:
            made = [dict(_flatten(output, "body")) for output in shaped.outputs]
        elif shaped.outputs:
            plain = map_event(event)
            bodies = [msgspec.json.encode(output) for output in shaped.outputs]
            pieces = [msgspec.structs.replace(plain, body=b, origin=plain.body) for b in bodies]
            driven = drive(self._destination, pieces, _answer, self._run)
            made = [_fields_of(one) for one in driven.requests if not one.hides_answer]
        else:
            made = []
        found: Fields = {}
        for number, fields in enumerate(made, 1):
            for path, value in fields.items():
                name = self._name_of(path)
                name = f"request-{number}.{name}" if number > 1 else name
                assert name not in found, f"two fields are called {name}; see `places`"
                found[name] = value
        return found

    def _name_of(self, path: str) -> str:
        for place, name in self._places.items():
            if f"{path}.".startswith(f"{place}."):
                return f"{name}{path[len(place) :]}".lstrip(".")
        return path

    def _run(self, call: Call) -> Any:
        values = call.values
        return self._code[call.name](values["request"], values["batch"], Moment(NOW_MS, "seed"))


def _answer(request: Request) -> Response:
    return by_json({"access_token": "t"} if request.hides_answer else {})


def _fields_of(request: Request) -> Fields:
    """Return a request as paths and values: method, url, query, headers, body."""
    url = urlsplit(request.url)
    headers = {name.lower(): value for name, value in request.headers}
    fields: Fields = {"method": request.method, "url": f"{url.scheme}://{url.netloc}{url.path}"}
    fields |= _pairs_of("query", url.query)
    fields |= {f"header.{k}": v for k, v in headers.items() if k not in OF_EACH_REQUEST}
    if request.body and "form" in headers.get("content-type", ""):
        fields |= _pairs_of("body", request.body.decode())
    elif request.body:
        fields |= dict(_flatten(msgspec.json.decode(request.body), "body"))
    return fields


def _pairs_of(place: str, text: str) -> Fields:
    pairs = parse_qsl(text, keep_blank_values=True)
    return {path: leaf for key, v in pairs for path, leaf in _flatten(v, f"{place}.{key}")}


def _flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a value; an empty list or object is one, and a list of one scalar.

    A text that is a JSON object is taken apart, too.
    """
    if isinstance(value, str) and value.startswith("{") and value.endswith("}"):
        value = _object_of(value)
    if isinstance(value, list) and len(value) == 1 and not isinstance(value[0], dict | list):
        yield path, value[0]  # vendors take both, so what it holds is compared
    elif isinstance(value, dict | list) and value:
        pairs: Any = value.items() if isinstance(value, dict) else enumerate(value)
        for key, child in pairs:
            yield from _flatten(child, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _object_of(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def our_side(differences: Differences) -> Side:
    """Return our kit with the examples of its params."""
    kit = shipped_kits()[differences.kit]
    params = {**fixture_params(kit, NO_FIXTURE), **differences.params.ours}
    return Side(kit, params, differences.places.ours)


def their_side(name: str, differences: Differences) -> Side:
    """Return a public kit, as it is imported, with the examples of its params."""
    tree = read_kit(name)
    kit = parse_kit(tree, name)
    own, given = kit_params(tree), differences.params.public
    params = {**own, **{key: value for key, value in given.items() if key in own}}
    if "PRIVATE_KEY" in params:
        ours = shipped_kits()[differences.kit]
        params["PRIVATE_KEY"] = fixture_params(ours, NO_FIXTURE)["PRIVATE_KEY"]
    return Side(kit, params, differences.places.public)


def compare(public: str, differences: Differences) -> Iterator[Difference]:
    """Yield every difference between our kit and one public kit, event by event."""
    ours, theirs = our_side(differences), their_side(public, differences)
    for name, event in events().items():
        here, there = ours.send(event), theirs.send(event)
        if here and there:
            yield from _compare_fields(name, here, there)
        elif here or there:
            yield Difference("not_sent_by_public" if here else "not_sent_by_ours", name)


def _compare_fields(event: str, here: Fields, there: Fields) -> Iterator[Difference]:
    for field in dict.fromkeys((*here, *there)):
        mine, other = here.get(field, ABSENT), there.get(field, ABSENT)
        if other is ABSENT:
            yield Difference("only_ours", event, field, mine)
        elif mine is ABSENT:
            yield Difference("only_theirs", event, field, theirs=other)
        elif mine != other or isinstance(mine, bool) != isinstance(other, bool):
            yield Difference("differs", event, field, mine, other)


class Judgement(NamedTuple):
    """What a comparison came to: sentences of what nobody explained, and of what is stale."""

    unexplained: list[str]
    stale: list[str]


Use = tuple[int, str, str]  # a row's number, the kind (or `events`), the pattern


def judge(differences: Differences) -> Judgement:
    """Compare a kit with its public counterparts, and hold every difference to the rows.

    The first row that fits explains a difference; what is never first explains nothing.
    """
    used: set[Use] = set()
    unexplained: list[str] = []
    file = differences.path.relative_to(ROOT)
    for public in differences.public:
        for one in compare(public, differences):
            found = _explain(differences, one)
            used.update(found)
            if not found:
                unexplained.append(
                    f"{differences.kit} beside {public}: {one}; mend the kit, or explain it by a "
                    f"row of {file} ({one.kind})"
                )
    stale = [
        f"{file}: {differences.rows[row].about!r}: {kind} {pattern!r} explains no difference any "
        "more; take it out"
        for row, kind, pattern in _claims(differences)
        if (row, kind, pattern) not in used
    ]
    return Judgement(unexplained, stale)


def _claims(differences: Differences) -> Iterator[Use]:
    for number, row in enumerate(differences.rows):
        for kind in (*FIELD_KINDS, *EVENT_KINDS):
            yield from ((number, kind, pattern) for pattern in row.patterns(kind))
        yield from ((number, "events", event) for event in row.events)


def _explain(differences: Differences, one: Difference) -> list[Use]:
    """Return what of the first row that fits explains a difference: nothing where none does."""
    is_event = one.kind in EVENT_KINDS
    for number, row in enumerate(differences.rows):
        events = [e for e in row.events if pattern_of(e, is_event=True).fullmatch(one.event)]
        if row.events and not events:
            continue
        for pattern in row.patterns(one.kind):
            if pattern_of(pattern, is_event=is_event).fullmatch(one.matched):
                return [(number, one.kind, pattern), *((number, "events", e) for e in events)]
    return []
