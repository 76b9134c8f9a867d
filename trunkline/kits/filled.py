"""A connection with its params filled in: nothing of it is left for an operator to say.

Filling in is where a destination's settings are judged: a param that is missing, an endpoint that
is no URL, a header that cannot be sent, a private key that is none. All of it before the first
event, so that the destination parks with a sentence instead of failing one event after another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from trunkline.kit.destination import Mapped
from trunkline.kits.answers import Answers
from trunkline.kits.auth import load_rsa_key
from trunkline.kits.auth_spec import Auth
from trunkline.kits.conditional import fill_when
from trunkline.kits.connection import Connection
from trunkline.kits.contract import fill_contract
from trunkline.kits.contract_check import Contract
from trunkline.kits.endpoint import Endpoint, split_endpoint, without_values
from trunkline.kits.envelope import Render, make_envelope
from trunkline.kits.follow_up import FilledFollowUp, fill_follow_up
from trunkline.kits.params import fill_tree, param_values, used_params
from trunkline.kits.request import Headers, clean_url, fixed_headers
from trunkline.kits.request_spec import RequestSpec
from trunkline.playbook.names import event_key


class FilledRequest(Struct, frozen=True):
    """A request of a kit, ready to be made of events.

    `endpoint` makes the URL where the event decides it: `url` is then what all of them share.
    """

    spec: RequestSpec
    url: str
    headers: Headers
    endpoint: Endpoint | None = None
    envelope: Render | None = None


class Filled(Struct, frozen=True):
    """A connection, ready: the default request, those of single events, how answers are read.

    `conditional` are requests that what was made of an event decides, in the order of asking.
    `contract` is None where the kit has none; so is `follow_up`, and with it the request `status`
    that asks what became of events.
    """

    default: FilledRequest
    variants: Mapping[str, FilledRequest]
    answers: Answers
    contract: Contract | None = None
    follow_up: FilledFollowUp | None = None
    status: FilledRequest | None = None
    conditional: tuple[tuple[Callable[[Any], bool], FilledRequest], ...] = ()

    def request_for(self, event: Mapped) -> FilledRequest:
        """Return the request of an event: by what was made of it, or by its name."""
        for holds, request in self.conditional:
            if holds(event.value):
                return request
        if not self.variants:
            return self.default
        name = event.name if event.type == "track" else event.type
        return self.variants.get(event_key(name), self.default)

    def requests(self) -> dict[str, FilledRequest]:
        """Return all requests by name."""
        others = (*(one for _, one in self.conditional), *self.variants.values())
        return {one.spec.name: one for one in (self.default, *others)}


def fill_connection(connection: Connection, given: Mapping[str, str]) -> Filled:
    """Fill the params in. Raises `ValueError` with a sentence that shows no param's value."""
    if connection.unsupported or connection.default is None:
        reason = connection.unsupported or "it says not where events go"
        raise ValueError(f"the kit cannot send yet: {reason}")
    values = param_values(connection.params, given)
    default = _fill_request(connection.default, values)
    variants = {name: _fill_request(one, values) for name, one in connection.variants.items()}
    rules = fill_contract(connection.contract, values)
    contract = Contract(rules) if rules else None
    conditional = tuple(
        (fill_when(one, values), _fill_request(one.spec, values)) for one in connection.conditional
    )
    filled = Filled(default, variants, connection.answers, contract, conditional=conditional)
    if connection.follow_up is None:
        return filled
    status = _fill_request(connection.follow_up.request, values)
    follow_up = fill_follow_up(connection.follow_up, status.spec, values)
    return msgspec.structs.replace(
        filled, follow_up=follow_up, status=None if follow_up is None else status
    )


def _fill_request(spec: RequestSpec, values: Mapping[str, str]) -> FilledRequest:
    _check_given(spec, values)
    filled = _fill(spec, values)
    try:
        endpoint = split_endpoint(filled.endpoint)
        url = clean_url(without_values(filled.endpoint))
    except ValueError as error:
        raise ValueError(f"endpoint {spec.endpoint} with its params filled in: {error}") from None
    envelope = None if spec.body is None else make_envelope(spec.body, values)
    made = FilledRequest(filled, url, fixed_headers(filled.headers), endpoint, envelope)
    _check_auth(filled.auth)
    return made


def _check_given(spec: RequestSpec, values: Mapping[str, str]) -> None:
    missing = [name for name in used_params(msgspec.to_builtins(spec)) if name not in values]
    if missing:
        names = ", ".join(sorted(missing))
        raise ValueError(f"params: {names} must be given; the kit's connection uses them")


def _check_auth(auth: Auth) -> None:
    if auth.oauth2 is None:
        return
    clean_url(auth.oauth2.url)
    if auth.oauth2.jwt is not None and auth.oauth2.jwt.algorithm == "RS256":
        load_rsa_key(auth.oauth2.jwt.key)


def _fill(spec: RequestSpec, values: Mapping[str, str]) -> RequestSpec:
    return msgspec.convert(fill_tree(msgspec.to_builtins(spec), values), RequestSpec)
