"""What every kind on the shelf promises, run over all of them. A new file is found by itself."""

from __future__ import annotations

import inspect
import os
import pkgutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import fields

import trunkline.destinations as shelf
from trunkline.kit.describe import describe_kind
from trunkline.kit.destination import (
    REQUESTS_MAX,
    Attempt,
    Channel,
    Destination,
    Example,
    Mapped,
    Response,
    Settings,
    example_attempt,
    map_event,
    secret_fields,
)
from trunkline.kit.http_out import HttpSettings
from trunkline.model.outcome import Blocked, Delivered, Outcome, Rejected, Retry

Kind = type[Destination[Any]] | type[Channel[Any]]


def find_kinds() -> list[Kind]:
    found: list[Kind] = []
    for info in pkgutil.iter_modules(shelf.__path__):
        module = import_module(f"{shelf.__name__}.{info.name}")
        classes = [
            value
            for value in vars(module).values()
            if inspect.isclass(value) and value.__module__ == module.__name__
        ]
        kinds = [c for c in classes if issubclass(c, Destination | Channel)]
        assert [c.kind for c in kinds] == [info.name], f"{info.name}.py holds one kind, its name"
        found += kinds
    return found


KINDS = find_kinds()
DESTINATIONS: list[type[Destination[Any]]] = [k for k in KINDS if issubclass(k, Destination)]
CHANNELS: list[type[Channel[Any]]] = [k for k in KINDS if issubclass(k, Channel)]
EXAMPLES = [(kind, example) for kind in KINDS for example in kind.examples]
BODIES = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([b"", b"{}", b"[]", b"null", b'{"error":{"code":1}}', b"<html>", b"\xff\xfe"]),
)

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
every_destination = pytest.mark.parametrize("kind", DESTINATIONS, ids=lambda kind: kind.kind)
# What needs no server: the others are tested against theirs, in tests/channels.
LOCAL_CHANNELS = [kind for kind in CHANNELS if kind.kind in ("file", "stdout")]
every_local_channel = pytest.mark.parametrize("kind", LOCAL_CHANNELS, ids=lambda kind: kind.kind)


def convert(kind: Kind, values: dict[str, Any]) -> Any:
    return msgspec.convert(values, kind.settings_type)


def mapped(example: Example) -> list[Mapped]:
    return [map_event(event) for event in example.events]


def run(
    destination: Destination[Any], events: Sequence[Mapped], attempt: Attempt, answer: Response
) -> Sequence[Outcome]:
    """Drive an exchange the way the forwarder does, answering every request the same."""
    exchange = destination.exchange(events, attempt)
    response: Response | None = None
    for _ in range(REQUESTS_MAX + 1):
        try:
            exchange.send(response)  # pyright: ignore[reportArgumentType]
        except StopIteration as end:
            return end.value
        response = answer
    raise AssertionError(f"no end within {REQUESTS_MAX} requests")


def test_the_shelf_holds_the_kinds_of_the_contract() -> None:
    assert {"webhook", "http_api", "file", "stdout"} <= {kind.kind for kind in KINDS}


@every_kind
def test_a_kind_says_what_it_is_and_has_three_examples(kind: Kind) -> None:
    assert kind.title
    assert (inspect.getmodule(kind).__doc__ or "").startswith(f"`{kind.kind}`: ")
    assert len(kind.examples) >= 3
    assert len({example.title for example in kind.examples}) == len(kind.examples)


@pytest.mark.parametrize(
    ("kind", "example"), EXAMPLES, ids=[f"{k.kind}: {e.title}" for k, e in EXAMPLES]
)
def test_an_example_gives_exactly_what_it_says(kind: Kind, example: Example) -> None:
    if issubclass(kind, Destination):
        destination = kind(convert(kind, example.settings))
        assert example.request is not None
        assert destination.build(mapped(example), example_attempt(example)) == example.request
    else:
        channel = kind(convert(kind, example.settings))
        assert channel.encode(mapped(example)) == example.text


@pytest.mark.slow
@every_destination
@settings(max_examples=40, deadline=None)
@given(body=BODIES, after=st.floats(0, 86_400))
def test_any_answer_gets_one_outcome_per_event(
    kind: type[Destination[Any]], body: bytes, after: float
) -> None:
    for example in kind.examples:
        destination, attempt = kind(convert(kind, example.settings)), example_attempt(example)
        for status in (*range(100, 600, 7), 599, 999):
            answer = Response(status, {"content-type": "text/plain"}, body, after)
            outcomes = run(destination, mapped(example), attempt, answer)
            assert len(outcomes) == len(example.events)
            assert all(isinstance(o, Delivered | Retry | Rejected | Blocked) for o in outcomes)


@every_destination
def test_every_status_is_judged_by_the_table_of_the_delivery_contract(
    kind: type[Destination[Any]],
) -> None:
    blocked = {401, 403, 404, 405, 407, 410, *range(300, 400)}
    retried = {408, 425, 429, *range(500, 600), *range(100, 200)}
    example = kind.examples[0]
    destination, attempt = kind(convert(kind, example.settings)), example_attempt(example)
    for status in range(100, 600):
        outcome = run(destination, mapped(example), attempt, Response(status, {}, b"", 7.0))[0]
        if 200 <= status < 300:
            assert outcome == Delivered()
        elif status in retried:
            assert outcome == Retry(f"HTTP {status}", 7.0)
        elif status in blocked:
            assert outcome == Blocked(f"HTTP {status}")
        else:
            assert outcome == Rejected(f"HTTP {status}")


@every_destination
def test_the_same_delivery_gives_the_same_request(kind: type[Destination[Any]]) -> None:
    for example in kind.examples:
        attempt = example_attempt(example)
        built = [
            kind(convert(kind, example.settings)).build(mapped(example), attempt) for _ in range(2)
        ]
        assert built[0] == built[1]


@every_kind
def test_every_setting_has_a_description_and_its_page_shows_it(kind: Kind) -> None:
    schema = msgspec.json.schema(kind.settings_type)
    properties = schema["$defs"][kind.settings_type.__name__]["properties"]
    page = describe_kind(kind)
    for field in fields(kind.settings_type):
        described = properties[field.encode_name].get("description", "")
        assert len(described) > 15, field.name
        assert f"| `{field.name}` |" in page
    assert all(example.title in page for example in kind.examples)


@every_kind
def test_settings_survive_writing_and_reading(kind: Kind) -> None:
    for example in kind.examples:
        given_settings = convert(kind, example.settings)
        text = msgspec.json.encode(given_settings)
        assert msgspec.json.decode(text, type=kind.settings_type) == given_settings


@every_kind
def test_a_setting_nobody_knows_is_refused_and_named(kind: Kind) -> None:
    values = {**kind.examples[0].settings, "playbok": 1}
    with pytest.raises(msgspec.ValidationError, match="playbok"):
        convert(kind, values)


@every_kind
@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("batch_events_max", 0),
        ("batch_events_max", 2001),
        ("batch_seconds_max", -1),
        ("timeout_seconds", 0.05),
        ("timeout_seconds", 121),
        ("concurrency_max", 0),
        ("concurrency_max", 257),
        ("retry_hours_max", -1),
        ("parked_bytes_max", -1),
    ],
)
def test_a_setting_out_of_bounds_is_refused_and_named(kind: Kind, name: str, bad: float) -> None:
    with pytest.raises(msgspec.ValidationError, match=rf"`\$\.{name}`"):
        convert(kind, {**kind.examples[0].settings, name: bad})


@every_kind
def test_a_secret_shows_in_no_repr_and_no_error(kind: Kind) -> None:
    names = secret_fields(kind.settings_type)
    hints = get_type_hints(kind.settings_type)
    for name in names:
        secret = {"X-Key": "hunter2"} if "dict" in str(hints[name]) else "hunter2"
        values = {**kind.examples[0].settings, name: secret}
        shown = convert(kind, values)
        assert "hunter2" not in repr(shown)
        assert "hunter2" not in str(shown)
        assert "hunter2" not in repr(shown.__rich_repr__())
        assert "hunter2" not in repr(kind(shown))
        for broken in ({**values, "timeout_seconds": "x"}, {**values, name: ["hunter2"]}):
            with pytest.raises(msgspec.ValidationError) as caught:
                convert(kind, broken)
            assert "hunter2" not in str(caught.value)


def test_the_kinds_that_send_http_have_secrets_and_the_shared_settings_have_the_params() -> None:
    for kind in DESTINATIONS:
        assert "params" in secret_fields(kind.settings_type)
        if issubclass(kind.settings_type, HttpSettings):
            assert {"secret", "headers"} <= secret_fields(kind.settings_type)
    assert secret_fields(Settings) == {"params"}


def test_a_channel_that_needs_a_server_is_tested_against_one() -> None:
    folder = Path(__file__).parent.parent / "channels"
    for kind in CHANNELS:
        name = kind.__module__.rpartition(".")[2]
        assert kind in LOCAL_CHANNELS or (folder / f"test_{name}.py").exists(), kind.kind


# What a channel needs to run here, and how to read what it wrote. A new channel adds its line.
CHANNEL_SETTINGS: dict[str, dict[str, str]] = {"file": {"path": "out.ndjson"}, "stdout": {}}

DRIVER = """
import sys, time
from importlib import import_module
import msgspec
from trunkline.kit.destination import Attempt, map_event
from trunkline.model.outcome import Delivered
kind_name, module_name, class_name, settings, count = sys.argv[1:]
kind = getattr(import_module(module_name), class_name)
channel = kind(msgspec.json.decode(settings, type=kind.settings_type))
channel.open()
for number in range(int(count)):
    event = {"messageId": f"m-{number}", "app": "a" * 15, "type": "track", "event": "E"}
    attempt = Attempt(1_795_170_000_000 + number, 1, "a/d", f"d-{number}")
    outcomes = channel.deliver([map_event(event)], attempt)
    assert outcomes == [Delivered()], outcomes
    sys.stderr.write(f"m-{number}\\n")
    sys.stderr.flush()
time.sleep(60)
"""


@every_local_channel
def test_a_channel_returns_one_outcome_per_event_and_survives_being_reopened(
    kind: type[Channel[Any]], tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    channel = kind(convert(kind, _settings_in(kind, tmp_path)))
    expected = b""
    for _ in range(3):
        channel.open()
        for example in kind.examples:
            events = mapped(example)
            assert channel.deliver(events, example_attempt(example)) == [Delivered()] * len(events)
            expected += example.text or b""
        channel.close()
    channel.close()  # twice is no error
    written = capfdbinary.readouterr().out if kind.kind == "stdout" else _all_of(tmp_path)
    assert written == expected


@every_local_channel
def test_what_a_channel_called_delivered_is_there_after_a_kill(
    kind: type[Channel[Any]], tmp_path: Path
) -> None:
    count = 20
    out = tmp_path / "stdout.txt"
    with out.open("wb") as stdout:
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                DRIVER,
                kind.kind,
                kind.__module__,
                kind.__name__,
                msgspec.json.encode(_settings_in(kind, tmp_path)).decode(),
                str(count),
            ],
            stdout=stdout,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(shelf.__file__).parents[2])},
        )
    assert process.stderr is not None
    delivered = [process.stderr.readline().strip().decode() for _ in range(count)]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()
    assert delivered == [f"m-{number}" for number in range(count)]
    written = out if kind.kind == "stdout" else tmp_path / CHANNEL_SETTINGS[kind.kind]["path"]
    lines = written.read_bytes().splitlines()
    assert [msgspec.json.decode(line)["messageId"] for line in lines] == delivered


def _settings_in(kind: type[Channel[Any]], folder: Path) -> dict[str, Any]:
    known = CHANNEL_SETTINGS[kind.kind]
    return {name: str(folder / value) for name, value in known.items()}


def _all_of(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.iterdir()))
