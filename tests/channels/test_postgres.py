"""`postgres` against a real server: tables that grow, values that fit nowhere, kills, rights."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tests.support.servers.driving import (
    Restart,
    blocked_reason,
    deliver,
    deliver_all,
    make_attempt,
    make_event,
    outcomes_of,
)
from tests.support.servers.install import require
from tests.support.servers.postgres import PASSWORD, PostgresServer
from trunkline.destinations.postgres import Postgres, PostgresSettings
from trunkline.kit.destination import map_event
from trunkline.model.outcome import Delivered, Rejected, Retry

slow = pytest.mark.slow
pytestmark = pytest.mark.timeout(300)  # a busy machine starts servers slowly


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    require("postgres")
    with PostgresServer.running() as server:
        yield server


def channel_to(port: int, **settings: Any) -> Postgres:
    values = {
        "host": "127.0.0.1",
        "port": port,
        "database": "events",
        "username": "trunkline",
        "password": PASSWORD,
        "timeout_seconds": 30,
        **settings,
    }
    return Postgres(msgspec.convert(values, PostgresSettings))


def rows_of(server: PostgresServer, table: str, columns: str = "*") -> list[Any]:
    return server.rows(f"SELECT {columns} FROM {table} ORDER BY message_id", database="events")


def types_of(server: PostgresServer, table: str) -> dict[str, str]:
    found = server.rows(
        "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = %s::regclass AND attnum > 0",
        table,
        database="events",
    )
    return dict(found)


@pytest.mark.parametrize("example", Postgres.examples, ids=lambda example: example.title)
def test_an_example_shows_what_is_written(example: Any) -> None:
    channel = Postgres(msgspec.convert(example.settings, PostgresSettings))
    assert channel.encode([map_event(event) for event in example.events]) == example.text


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"table": "Events 1"}, "table is 'Events 1'; write it as 'events_1'"),
        ({"schema": "a%s"}, "schema must hold no %"),
        ({"tls": "verify-full"}, "tls is verify-full; give tls_ca"),
        ({"columns_max": 5}, "columns_max"),
    ],
)
def test_wrong_settings_are_refused_with_a_sentence(wrong: dict[str, Any], said: str) -> None:
    values = {"host": "h", "database": "d", "username": "u", **wrong}
    with pytest.raises(msgspec.ValidationError, match=said):
        msgspec.convert(values, PostgresSettings)


def test_a_server_that_is_away_is_a_retry_and_a_host_that_is_none_parks() -> None:
    assert outcomes_of(deliver(channel_to(1), [make_event(1), make_event(2)]), Retry) == [0, 1]
    reason = blocked_reason(channel_to(1, host="no.invalid"), [make_event(1)])
    assert "no.invalid" in reason
    with pytest.raises(ConnectionError):
        channel_to(1).check()


@slow
def test_a_table_is_made_and_grows_with_the_events(server: PostgresServer) -> None:
    channel = channel_to(server.port, table="grown")
    first = make_event(1, properties={"orderId": "A-1", "count": 2, "isGift": True})
    assert deliver(channel, [first]) == [Delivered()]
    second = make_event(
        2, properties={"orderId": "A-2", "count": 2.5, "items": [{"sku": "x"}], "none": None}
    )
    third = make_event(3, properties={"count": 7, "isGift": "maybe", "قیمت": 10**30})
    assert deliver(channel, [second, third]) == [Delivered()] * 2
    types = types_of(server, "grown")
    assert types["properties_order_id"] == "text"
    assert types["properties_count"] == "numeric", "widened"
    assert types["properties_is_gift"] == "text", "widened"
    assert types["properties_items"] == "jsonb"
    assert types["timestamp"] == "timestamp with time zone"
    assert "properties_none" not in types
    columns = "properties_order_id, properties_count, properties_is_gift, properties_items"
    assert rows_of(server, "grown", f"{columns}, properties_قیمت") == [
        ("A-1", Decimal(2), "true", None, None),
        ("A-2", Decimal("2.5"), None, [{"sku": "x"}], None),
        (None, Decimal(7), "maybe", None, Decimal(10**30)),
    ]
    assert rows_of(server, "grown", "extra, notes") == [(None, None)] * 3


@slow
def test_what_is_sent_again_is_stored_once(server: PostgresServer) -> None:
    channel = channel_to(server.port, table="once")
    events = [make_event(n) for n in range(50)]
    for _ in range(3):
        assert deliver(channel, [*events, events[0]]) == [Delivered()] * 51
    other = make_event(0, app="anotherappxxxxx")
    assert deliver(channel, [other]) == [Delivered()]
    assert len(rows_of(server, "once")) == 51


@slow
def test_each_event_has_its_table_up_to_a_limit(server: PostgresServer) -> None:
    channel = channel_to(server.port, tables="event", table="per", tables_max=3)
    events = [
        make_event(1, event="Order Completed"),
        make_event(2, event="order_completed"),
        make_event(3, type="identify", event=""),
        make_event(4, event="خرید"),
        make_event(5, event="One Too Many"),
        make_event(6, event="Two Too Many"),
    ]
    assert deliver(channel, events) == [Delivered()] * 6
    assert len(rows_of(server, "per_order_completed")) == 2
    assert len(rows_of(server, "per_identify")) == 1
    assert len(rows_of(server, "per_خرید")) == 1
    assert rows_of(server, "per_other", "event") == [("One Too Many",), ("Two Too Many",)]


@slow
def test_names_that_fold_alike_stay_apart(server: PostgresServer) -> None:
    channel = channel_to(server.port, table="folded")
    properties = {"order id": 1, "order_id": 2, "Order-ID": 3, "x" * 90: 4, "x" * 91: 5}
    for number in (1, 2):
        event = make_event(number, properties=properties, context={"app": {"name": "Shop"}})
        assert deliver(channel, [event]) == [Delivered()]
    types = types_of(server, "folded")
    assert all(len(name.encode()) <= 63 for name in types)
    mine = [name for name in types if name.startswith("properties_")]
    assert len(mine) == 5
    assert types["context_app_name"] == "text"
    for row in rows_of(server, "folded", ", ".join(mine)):
        assert sorted(row) == [1, 2, 3, 4, 5]
    assert rows_of(server, "folded", "extra") == [(None,), (None,)]


@slow
def test_hostile_names_and_values_are_only_data(server: PostgresServer) -> None:
    channel = channel_to(server.port, table="hostile", tables="event")
    properties = {
        '"; DROP TABLE hostile; --': "'; DROP TABLE hostile; --",
        "100%s %(x)s": "\\'; SELECT 1; --",
        "": "empty",
        "nul\0key": "nul\0value",
        "deep": {"a": {"b": {"c": {"d": {"e": 1}}}}},
        "timestamp": "never",
    }
    event = make_event(1, event="x\"; DROP TABLE y; --'", properties=properties, message_id="no")
    assert deliver(channel, [event, make_event(2, event="%s")]) == [Delivered()] * 2
    assert rows_of(server, "hostile_x_drop_table_y", "properties_100_s_x_s") == [
        ("\\'; SELECT 1; --",)
    ]
    values = rows_of(server, "hostile_x_drop_table_y", "properties_nul_key, properties_timestamp")
    assert values == [("nul\ufffdvalue", "never")]
    assert rows_of(server, "hostile_x_drop_table_y", "properties_deep_a_b_c") == [
        ({"d": {"e": 1}},)
    ]


@slow
def test_what_has_no_column_is_kept_as_json(server: PostgresServer) -> None:
    channel = channel_to(server.port, table="narrow", columns_max=15)
    properties = {f"p{n}": n for n in range(50)} | {"a.b": 1, "a": {"b": 2}}
    assert deliver(channel, [make_event(1, properties=properties)]) == [Delivered()]
    assert len(types_of(server, "narrow")) == 15
    ((extra, notes),) = rows_of(server, "narrow", "extra, notes")
    assert notes is None
    assert len(extra) == 52 + 2 - 5
    assert {extra["properties.a.b"], extra['["properties","a","b"]']} == {1, 2}


@slow
def test_a_value_that_a_persons_column_refuses_goes_to_extra_with_a_note(
    server: PostgresServer,
) -> None:
    server.run(
        "CREATE TABLE own (message_id text, app text, type text, event text, user_id text, "
        'anonymous_id text, "timestamp" timestamptz, received_at timestamptz, extra jsonb, '
        "notes jsonb, properties_count smallint, properties_day date, properties_flag boolean, "
        "properties_sum int GENERATED ALWAYS AS (1) STORED, PRIMARY KEY (app, message_id)); "
        "GRANT INSERT ON own TO trunkline; GRANT SELECT ON own TO trunkline",
        database="events",
    )
    channel = channel_to(server.port, table="own")
    events = [
        make_event(1, properties={"count": 7, "day": "2026-11-20", "flag": True}),
        make_event(2, properties={"count": 70_000, "day": "2026-11-20"}),
        make_event(3, properties={"count": 3, "day": "no day", "sum": 5}),
        make_event(4, properties={"flag": "maybe", "count": 4, "new": 1}),
    ]
    assert deliver(channel, events) == [Delivered()] * 4
    rows = rows_of(server, "own", "properties_count, properties_flag, extra, notes")
    assert rows[0][:2] == (7, True)
    assert rows[1][0] is None
    assert rows[1][2]["properties.count"] == 70_000
    assert "out of range" in rows[1][3][0]
    assert rows[2][2]["properties.day"] == "no day"
    assert rows[2][2]["properties.sum"] == 5
    assert "invalid input syntax for type date" in rows[2][3][0]
    assert rows[3][0] == 4
    assert rows[3][2]["properties.flag"] == "maybe"
    assert rows[3][3] == ["properties.flag is text, properties_flag boolean"]


@slow
def test_a_row_that_the_table_takes_in_no_form_is_rejected_alone(server: PostgresServer) -> None:
    channel = channel_to(server.port, table="strict")
    assert deliver(channel, [make_event(0)]) == [Delivered()]
    server.run("ALTER TABLE strict ADD CHECK (user_id <> 'u-3')", database="events")
    outcomes = deliver(channel, [make_event(n) for n in range(1, 6)])
    assert outcomes_of(outcomes, Rejected) == [2]
    assert "strict_user_id_check" in str(outcomes[2])
    # An index entry has at most 2,704 bytes, packed; random text does not pack.
    long_id = make_event(9, messageId=random.Random(1).randbytes(4000).hex())
    assert outcomes_of(deliver(channel, [long_id, make_event(11)]), Rejected) == [0]
    assert sorted(row[0] for row in rows_of(server, "strict", "user_id")) == [
        "u-0", "u-1", "u-2", "u-4", "u-4", "u-5"
    ]  # fmt: skip


@slow
def test_a_column_that_a_view_uses_is_left_as_it_is(server: PostgresServer) -> None:
    channel = channel_to(server.port, table="viewed")
    assert deliver(channel, [make_event(1, properties={"count": 1})]) == [Delivered()]
    server.run("CREATE VIEW v AS SELECT properties_count FROM viewed", database="events")
    changed = make_event(2, properties={"count": "many"})
    assert deliver(channel, [changed]) == [Delivered()]
    assert types_of(server, "viewed")["properties_count"] == "bigint"
    extra, notes = rows_of(server, "viewed", "extra, notes")[1]
    assert extra == {"properties.count": "many"}
    assert notes == ["properties.count is text, properties_count bigint"]


@slow
def test_a_locked_table_is_a_retry_and_nothing_of_it_comes_twice(server: PostgresServer) -> None:
    assert deliver(channel_to(server.port, table="locked"), [make_event(1)]) == [Delivered()]
    channel = channel_to(server.port, table="locked", timeout_seconds=1)
    with server.connect() as connection, connection.transaction():
        connection.execute("LOCK TABLE locked IN ACCESS EXCLUSIVE MODE")
        outcomes = deliver(channel, [make_event(2), make_event(3)])
        assert outcomes_of(outcomes, Retry) == [0, 1]
    assert deliver_all(channel, [make_event(2), make_event(3)]) == []
    assert len(rows_of(server, "locked")) == 3


@slow
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"password": "hunter2-wrong"}, "password authentication failed"),
        ({"username": "nobody"}, "password authentication failed"),
        ({"database": "nowhere"}, "nowhere"),
        ({"schema": "nowhere"}, "nowhere"),
        ({"username": "stranger"}, "permission denied|may make no tables"),
        ({"tls": "verify-full", "tls_ca": "system"}, "certificate verify failed"),
    ],
)
def test_what_a_person_must_mend_parks(
    server: PostgresServer, wrong: dict[str, Any], said: str
) -> None:
    channel = channel_to(server.port, **wrong)
    reason = blocked_reason(channel, [make_event(1), make_event(2)])
    with pytest.raises(ConnectionError) as caught:
        channel.check()
    for text in (reason, str(caught.value)):
        assert any(word in text for word in said.split("|")), text
        assert "hunter2" not in text


@slow
def test_a_table_without_the_columns_that_nothing_can_do_without_parks(
    server: PostgresServer,
) -> None:
    server.run("CREATE TABLE bare (message_id text, app text)", database="events")
    reason = blocked_reason(channel_to(server.port, table="bare"), [make_event(1)])
    assert "table bare has no column" in reason
    assert "extra" in reason
    server.run(
        "CREATE TABLE keyless (message_id text, app text, type text, event text, user_id text, "
        'anonymous_id text, "timestamp" timestamptz, received_at timestamptz, extra jsonb, '
        "notes jsonb); GRANT ALL ON keyless TO trunkline",
        database="events",
    )
    reason = blocked_reason(channel_to(server.port, table="keyless"), [make_event(1)])
    assert "ON CONFLICT" in reason


@slow
def test_tls_is_checked(server: PostgresServer) -> None:
    settings = {"host": "localhost", "tls": "verify-full", "table": "sealed"}
    trusting = channel_to(server.port, **settings, tls_ca=str(server.authorities))
    assert deliver(trusting, [make_event(1)]) == [Delivered()]
    other = channel_to(
        server.port, **settings | {"host": "127.0.0.1"}, tls_ca=trusting.settings.tls_ca
    )
    assert "does not match host name" in blocked_reason(other, [make_event(1)])


@slow
def test_a_check_says_what_is_there_and_writes_nothing(server: PostgresServer) -> None:
    channel = channel_to(server.port, table="checked")
    said = "Signed in to events; tables may be made in schema public. Nothing was written."
    assert channel.check() == said
    assert server.rows("SELECT to_regclass('checked')", database="events") == [(None,)]
    assert deliver(channel, [make_event(1)]) == [Delivered()]
    assert "table checked is there and may be written" in channel.check()


@slow
def test_a_server_that_stands_still_is_a_retry_in_the_end(server: PostgresServer) -> None:
    assert deliver(channel_to(server.port, table="still"), [make_event(0)]) == [Delivered()]
    channel, first = channel_to(server.port, table="still", timeout_seconds=2), [make_event(1)]
    while channel.deliver(first, make_attempt(first)) != [Delivered()]:
        pass
    pid = channel._connection.info.backend_pid  # type: ignore[union-attr]
    os.kill(pid, signal.SIGSTOP)
    try:
        outcomes = channel.deliver([make_event(2)], make_attempt([make_event(2)]))
    finally:
        os.kill(pid, signal.SIGCONT)
    assert outcomes_of(outcomes, Retry) == [0]
    assert deliver_all(channel, [make_event(2)]) == []
    assert len(rows_of(server, "still")) == 3


@slow
def test_a_server_killed_in_the_middle_loses_nothing_and_doubles_nothing(
    server: PostgresServer,
) -> None:
    events = [make_event(n) for n in range(2000)]
    restart = Restart(server)
    channel = channel_to(server.port, table="killed")
    assert deliver_all(channel, events, 100, restart.on_batch) == []
    restart.wait()
    found = [row[0] for row in rows_of(server, "killed", "message_id")]
    assert found == [event.message_id for event in events]


@slow
def test_two_nodes_grow_one_table_at_a_time(server: PostgresServer) -> None:
    def write(node: int) -> None:
        channel = channel_to(server.port, table="shared", columns_max=200)
        batches = [
            [
                make_event(
                    node * 1000 + n * 10 + k,
                    properties={f"key_{(n * 7 + k) % 40}": [n, "text", True][(n + node) % 3]},
                )
                for k in range(10)
            ]
            for n in range(15)
        ]
        for batch in batches:
            assert deliver_all(channel, batch) == []

    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(write, node) for node in (1, 2)]:
            done.result(100)
    rows = rows_of(server, "shared", "to_jsonb(shared)")
    assert len(rows) == 300
    for (row,) in rows:
        kept = [k for k in row if k.startswith("properties_") and row[k] is not None]
        assert len(kept) + len(row["extra"] or {}) == 1
