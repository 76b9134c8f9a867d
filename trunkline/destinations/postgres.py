"""`postgres`: events into tables of PostgreSQL that grow with what the events hold.

One event is one row: `message_id`, `app`, `type`, `event` (its name), `user_id`, `anonymous_id`,
`timestamp` and `received_at`, and a column for each other value, named after its path:
`properties.orderId` is `properties_order_id`. Numbers are `bigint` or `numeric`, texts `text`,
lists `jsonb`; objects become a column for each of their values, five levels deep. Nulls are left
out. With `tables: event` each name has its table: `events_purchase_completed`, `events_identify`.

Tables and columns are made when they are first needed; a column whose type no longer fits is
widened (`bigint` to `numeric`, numbers and booleans to `text`). What has no column that takes it,
past `columns_max`, where the right to alter is missing or a lock is not to be had, goes into the
column `extra`, as JSON by path, and `notes` says why where a column refused it. A person may make
tables and columns before: types that are not ours are never changed.

A batch is one transaction, and a row that is there already is left as it is (`ON CONFLICT (app,
message_id) DO NOTHING`), so what is sent again is stored once.

Names are folded: lower case, `camelCase` parted, all but letters and digits `_`, at most 63 bytes.
A second path with the same name gets eight digits of its hash; each column remembers its path in
its comment. Event names that fold alike share a table.

A host at a private address needs `allow_private_addresses`.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from msgspec import Meta

from trunkline.kit import table_sql
from trunkline.kit.clock import SystemClock
from trunkline.kit.columns import (
    ENVELOPE,
    Column,
    Row,
    Table,
    bare_cells_of,
    cells_of,
    identifier,
    name_of,
    row_of,
    wanted,
)
from trunkline.kit.destination import Attempt, Channel, Example, Mapped, SecretText, Settings
from trunkline.kit.sample_events import PURCHASE, SIGN_UP
from trunkline.kit.sql_states import (
    is_of_a_row,
    is_unchangeable,
    outcome_of_connecting,
    outcome_of_state,
)
from trunkline.kit.wires import cut_after
from trunkline.model.outcome import Blocked, Delivered, Outcome, Rejected

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

_UNCHANGED_SECONDS = 300.0  # how long a change that could not be made is not tried again
_HOMES_MAX = 10_000
_GRACE_SECONDS = 5.0  # past the time-out of a statement, before its connection is cut


class PostgresSettings(Settings, frozen=True, kw_only=True):
    """The settings of a PostgreSQL database."""

    host: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=1024,
            description="The host of the server; several parted by commas.",
        ),
    ]
    port: Annotated[int, Meta(ge=1, le=65535, description="The port of the server.")] = 5432
    database: Annotated[
        str, Meta(min_length=1, max_length=63, description="The database to sign in to.")
    ]
    username: Annotated[
        str, Meta(min_length=1, max_length=63, description="The user that signs in.")
    ]
    password: Annotated[SecretText | None, Meta(description="The password for it.")] = None
    tls: Annotated[
        Literal["disable", "prefer", "require", "verify-ca", "verify-full"],
        Meta(
            description="TLS: never; where the server offers it; always; always, and its "
            "certificate is one of `tls_ca`; and it names the host."
        ),
    ] = "prefer"
    tls_ca: Annotated[
        str | None, Meta(description="A PEM file of the authorities to trust, or `system`.")
    ] = None
    schema: Annotated[
        str,
        Meta(min_length=1, max_length=63, description="The schema; it must be there."),
    ] = "public"
    tables: Annotated[
        Literal["one", "event"],
        Meta(description="One table for all, or one for each event name (and type)."),
    ] = "one"
    table: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=40,
            description="The table's name; with `tables: event` what each table's name "
            "begins with. Lower case letters, digits and `_`.",
        ),
    ] = "events"
    tables_max: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000,
            description="With `tables: event`: how many tables there may be; further "
            "names share one that ends in `_other`.",
        ),
    ] = 300
    columns_max: Annotated[
        int,
        Meta(
            ge=12,
            le=1500,
            description="How many columns a table may have; further values go into `extra`.",
        ),
    ] = 500

    def __post_init__(self) -> None:
        if identifier(self.table) != self.table:
            raise ValueError(f"table is {self.table!r}; write it as {identifier(self.table)!r}")
        if "%" in self.schema or "\0" in self.schema:
            raise ValueError("schema must hold no % and no NUL")
        if self.tls.startswith("verify") and not self.tls_ca:
            raise ValueError(f"tls is {self.tls}; give tls_ca, a PEM file or `system`")


class Postgres(Channel[PostgresSettings]):
    """Events into tables."""

    kind = "postgres"
    host_settings = ("host",)
    title = "PostgreSQL"
    settings_type = PostgresSettings

    def __init__(self, settings: PostgresSettings) -> None:
        super().__init__(settings)
        self._clock = SystemClock()
        self._connection: Connection | None = None
        self._tables: dict[str, Table] = {}
        self._homes: dict[str, str] = {}  # a table that may not be made → where its rows go
        self._unchanged_until: dict[str, float] = {}

    def open(self) -> None:
        """Nothing yet: `deliver` connects, for it can say whose fault it is when that fails."""

    def deliver(
        self,
        events: Sequence[Mapped],
        attempt: Attempt,  # noqa: ARG002  of the contract; a row tells no attempt
    ) -> Sequence[Outcome]:
        """Write the events in one transaction."""
        import psycopg

        try:
            connection = self._connected()
        except psycopg.Error as error:
            return [outcome_of_connecting(self._words_of(error))] * len(events)
        limit = self.settings.timeout_seconds + _GRACE_SECONDS
        try:
            with cut_after(connection.fileno(), limit):
                return self._write(connection, [row_of(event) for event in events], events)
        except _Unfit as error:
            self.close()
            return [Blocked(str(error))] * len(events)
        except psycopg.Error as error:
            self.close()  # the next attempt begins anew, and looks at the tables again
            return [outcome_of_state(error.sqlstate, self._words_of(error))] * len(events)

    def check(self) -> str:
        """Sign in and look at the table and the rights on it; nothing is written."""
        import psycopg

        try:
            connection = self._connected()
            with cut_after(connection.fileno(), self.settings.timeout_seconds + _GRACE_SECONDS):
                said = self._look(connection)
        except psycopg.Error as error:
            raise ConnectionError(self._words_of(error)) from None
        finally:
            self.close()
        return f"Signed in to {self.settings.database}; {said}. Nothing was written."

    def close(self) -> None:
        """Disconnect. What was not committed was never called delivered."""
        connection, self._connection = self._connection, None
        self._tables.clear()
        self._homes.clear()
        if connection is not None:
            with contextlib.suppress(Exception):  # it may be broken; there is nothing to save
                connection.close()

    def encode(self, events: Sequence[Mapped]) -> bytes:
        """Return the rows as SQL that inserts them where all their columns are there."""
        told: list[str] = []
        for event in events:
            row, place = row_of(event), self._place(self._name_of(event))
            table = Table([Column(column, kind) for column, kind in ENVELOPE.items()])
            added, _ = wanted(table, [row], self.settings.columns_max)
            cells = cells_of(Table([*table.by_name.values(), *added]), row)
            told.append(table_sql.shown_insert(place, cells) + "\n")
        return "".join(told).encode()

    def _write(
        self, connection: Connection, rows: Sequence[Row], events: Sequence[Mapped]
    ) -> list[Outcome]:
        import psycopg

        placed: dict[str, list[int]] = {}
        for number, event in enumerate(events):
            placed.setdefault(self._name_of(event), []).append(number)
        tables: dict[int, str] = {}
        for name, numbers in placed.items():
            where = self._fit(connection, name, [rows[number] for number in numbers])
            tables |= dict.fromkeys(numbers, where)
        try:
            with connection.transaction():
                self._insert(connection, rows, tables)
        except psycopg.Error as error:
            if not is_of_a_row(error.sqlstate):
                raise
        else:
            return [Delivered()] * len(rows)
        with connection.transaction():
            return [self._insert_one(connection, tables[n], row) for n, row in enumerate(rows)]

    def _insert(self, connection: Connection, rows: Sequence[Row], tables: dict[int, str]) -> None:
        for name in dict.fromkeys(tables.values()):
            table = self._tables[name]
            cells = [cells_of(table, row) for n, row in enumerate(rows) if tables[n] == name]
            names = sorted({column for row in cells for column in row})
            statement = table_sql.insert(self._place(name), names).encode()
            with connection.cursor() as cursor:
                cursor.executemany(statement, [[row.get(c) for c in names] for row in cells])

    def _insert_one(self, connection: Connection, name: str, row: Row) -> Outcome:
        """Insert a row in whichever form the table takes; `Rejected` where it takes none."""
        import psycopg

        note = ""
        for form in range(3):
            if form == 0:
                cells = cells_of(self._tables[name], row)
            else:
                cells = bare_cells_of(row, note, as_text=form == 2)
            statement = table_sql.insert(self._place(name), list(cells)).encode()
            try:
                with connection.transaction():
                    connection.execute(statement, list(cells.values()))
            except psycopg.Error as error:
                if not is_of_a_row(error.sqlstate):
                    raise
                note = self._words_of(error)
            else:
                return Delivered()
        return Rejected(f"table {name} does not take the event: {note}")

    def _fit(self, connection: Connection, name: str, rows: Sequence[Row]) -> str:
        """Make a table fit for rows as far as that can be done; return which table they go to."""
        name = self._homes.get(name, name)
        table = self._tables.get(name) or self._load(connection, name)
        if table is None and self._is_full(connection, name):
            other = f"{self.settings.table}_other"
            if len(self._homes) < _HOMES_MAX:
                self._homes[name] = other
            name = other
            table = self._tables.get(name) or self._load(connection, name)
        if table is None:
            table = self._create(connection, name)
        added, widened = wanted(table, rows, self.settings.columns_max)
        if self._may_change(name) and added:
            table = self._change(connection, name, rows, None)
        for column in widened:
            if self._may_change(f"{name}.{column.name}"):
                table = self._change(connection, name, rows, column.name)
        if missing := ENVELOPE.keys() - table.by_name.keys():
            raise _Unfit(
                f"table {name} has no column {', '.join(sorted(missing))} and may not be altered; "
                "add it, or make this destination's user the owner of the table"
            )
        self._tables[name] = table
        return name

    def _change(
        self, connection: Connection, name: str, rows: Sequence[Row], widened: str | None
    ) -> Table:
        """Add what columns are missing, or widen one; what cannot be done is noted for later."""
        import psycopg

        with connection.transaction():
            self._lock(connection, name)
            # Another node may have done it meanwhile.
            table = self._load(connection, name) or Table([])
            place = self._place(name)
            columns, wider = wanted(table, rows, self.settings.columns_max)
            statements = table_sql.add_columns(place, columns) if columns else []
            if widened is not None:
                statements = [table_sql.widen_column(place, c) for c in wider if c.name == widened]
            try:
                with connection.transaction():
                    for statement in statements:
                        connection.execute(statement.encode())
            except psycopg.Error as error:
                if not is_unchangeable(error.sqlstate):
                    raise
                key = name if widened is None else f"{name}.{widened}"
                self._unchanged_until[key] = self._clock.monotonic() + _UNCHANGED_SECONDS
            return self._load(connection, name) or table

    def _may_change(self, key: str) -> bool:
        return self._unchanged_until.get(key, 0.0) <= self._clock.monotonic()

    def _create(self, connection: Connection, name: str) -> Table:
        with connection.transaction():
            self._lock(connection, name)
            connection.execute(table_sql.create_table(self._place(name)).encode())
            return self._load(connection, name) or Table([])

    def _lock(self, connection: Connection, name: str) -> None:
        connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [self._place(name)])

    def _load(self, connection: Connection, name: str) -> Table | None:
        rows = connection.execute(table_sql.COLUMNS, [self._place(name)]).fetchall()
        columns = [
            Column(column, kind, path or (), path is not None, is_generated)
            for column, kind, comment, is_generated in rows
            for path in [table_sql.path_of(comment)]
        ]
        return Table(columns) if columns else None

    def _is_full(self, connection: Connection, name: str) -> bool:
        if self.settings.tables == "one" or name == f"{self.settings.table}_other":
            return False
        found = connection.execute(
            "SELECT count(*) FROM pg_tables WHERE schemaname = %s AND starts_with(tablename, %s)",
            [self.settings.schema, f"{self.settings.table}_"],
        ).fetchone()
        return found is not None and int(found[0]) >= self.settings.tables_max

    def _look(self, connection: Connection) -> str:
        settings = self.settings
        rights = connection.execute(
            "SELECT to_regnamespace(%s) IS NOT NULL, to_regclass(%s) IS NOT NULL",
            [table_sql.quote(settings.schema), self._place(settings.table)],
        ).fetchone()
        has_schema, has_table = rights or (False, False)
        if not has_schema:
            raise ConnectionError(f"schema {settings.schema} is not there; make it")
        if settings.tables == "one" and has_table:
            if not self._holds(connection, "table", self._place(settings.table), "INSERT"):
                raise ConnectionError(f"{settings.username} may not insert into {settings.table}")
            return f"table {settings.table} is there and may be written"
        if not self._holds(connection, "schema", table_sql.quote(settings.schema), "CREATE"):
            raise ConnectionError(
                f"{settings.username} may make no tables in schema {settings.schema}; grant CREATE"
            )
        return f"tables may be made in schema {settings.schema}"

    def _holds(self, connection: Connection, what: str, name: str, right: str) -> bool:
        kind = "regclass" if what == "table" else "regnamespace"
        statement = f"SELECT has_{what}_privilege(to_{kind}(%s)::oid, %s)"
        found = connection.execute(statement.encode(), [name, right]).fetchone()
        return found is not None and bool(found[0])

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> Connection:
        import psycopg

        logging.getLogger("psycopg").setLevel(logging.CRITICAL)  # it raises what it logs
        settings = self.settings
        connection = psycopg.connect(
            host=settings.host,
            port=settings.port,
            dbname=settings.database,
            user=settings.username,
            password=settings.password,
            sslmode=settings.tls,
            sslrootcert=settings.tls_ca,
            connect_timeout=max(2, round(settings.timeout_seconds)),
            target_session_attrs="read-write",
            application_name="trunkline",
            gssencmode="disable",
            autocommit=True,
            prepare_threshold=None,  # a pooler between us and the server may keep no statements
        )
        milliseconds = int(settings.timeout_seconds * 1000)
        connection.execute(
            f"SET statement_timeout = {milliseconds}; SET lock_timeout = {milliseconds // 2}; "
            "SET standard_conforming_strings = on".encode()
        )
        return connection

    def _name_of(self, event: Mapped) -> str:
        table = self.settings.table
        if self.settings.tables == "one":
            return table
        name = event.name if event.type == "track" and event.name else event.type
        return identifier(f"{table}_{name_of((name,))}")

    def _place(self, name: str) -> str:
        return f"{table_sql.quote(self.settings.schema)}.{table_sql.quote(name)}"

    def _words_of(self, error: psycopg.Error) -> str:
        text = error.diag.message_primary or str(error) or type(error).__name__
        secret = self.settings.password
        return " ".join((text.replace(secret, "***") if secret else text).split())[:300]

    examples: ClassVar[Sequence[Example]] = (
        Example(
            "One table for all",
            settings={
                "host": "db.example.com",
                "database": "events",
                "username": "trunkline",
                "password": "of-the-secret-store",
                "tls": "verify-full",
                "tls_ca": "/etc/ssl/db-ca.pem",
            },
            events=(PURCHASE,),
            text=(
                b'INSERT INTO "public"."events" ("message_id", "app", "type", "event", "user_id", '
                b'"timestamp", "received_at", "properties_revenue", "properties_currency", '
                b'"properties_order_id", "source_protocol", "source_key", "source_slug")\n'
                b"  VALUES ('7d0a2c1e-3f64-4b7e-9b1a-52f1c6d8e901', 'zcmwmxbkmuodelu', 'track', "
                b"'Purchase Completed', 'u-42', '2026-11-20T10:15:30.000Z', "
                b"'2026-11-20T10:15:30.120Z', '29.9', 'USD', 'A-1001', 's2s', 'backend', "
                b"'taqsq')\n"
                b'  ON CONFLICT ("app", "message_id") DO NOTHING;\n'
            ),
        ),
        Example(
            "A table for each event",
            settings={
                "host": "db.example.com",
                "database": "events",
                "username": "trunkline",
                "password": "of-the-secret-store",
                "schema": "shop",
                "tables": "event",
            },
            events=(SIGN_UP,),
            text=(
                b'INSERT INTO "shop"."events_identify" ("message_id", "app", "type", "user_id", '
                b'"timestamp", "received_at", "traits_plan", "source_protocol", "source_key")\n'
                b"  VALUES ('order-1002-signup', 'zcmwmxbkmuodelu', 'identify', 'u-43', "
                b"'2026-11-20T10:15:31.000Z', '2026-11-20T10:15:31.045Z', 'gold', 'tracking', "
                b"'backend')\n"
                b'  ON CONFLICT ("app", "message_id") DO NOTHING;\n'
            ),
        ),
        Example(
            "Few columns, the rest as JSON",
            settings={
                "host": "127.0.0.1",
                "allow_private_addresses": True,
                "database": "events",
                "username": "trunkline",
                "columns_max": 12,
                "batch_events_max": 1000,
            },
            events=(SIGN_UP,),
            text=(
                b'INSERT INTO "public"."events" ("message_id", "app", "type", "user_id", '
                b'"timestamp", "received_at", "traits_plan", "source_protocol", "extra")\n'
                b"  VALUES ('order-1002-signup', 'zcmwmxbkmuodelu', 'identify', 'u-43', "
                b"'2026-11-20T10:15:31.000Z', '2026-11-20T10:15:31.045Z', 'gold', 'tracking', "
                b'\'{"source.key":"backend"}\')\n'
                b'  ON CONFLICT ("app", "message_id") DO NOTHING;\n'
            ),
        ),
    )


class _Unfit(Exception):
    """A table lacks what no row can do without; the message says what to do."""
