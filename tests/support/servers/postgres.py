"""One PostgreSQL, with a database `events` that belongs to the user `trunkline`."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any

import psycopg

from tests.support.servers.child import Child
from tests.support.servers.install import postgres_programs

PASSWORD = "hunter2-of-postgres"


class PostgresServer(Child):
    """A server that asks everybody for a password, the administrator `admin` too."""

    @property
    def user(self) -> str | int | None:
        # It refuses to run as root.
        return "postgres" if os.geteuid() == 0 else None

    def prepare(self) -> None:
        secret = self.folder / "password.txt"
        secret.write_text(PASSWORD, "utf-8")
        self.make_certificate()
        key = self.folder / "localhost.pem"
        key.chmod(0o600)
        if self.user is not None:
            for path in (self.folder, secret, key):
                shutil.chown(path, self.user)
        command = [
            str(postgres_programs() / "initdb"), "-D", str(self.folder / "data"), "-U", "admin",
            "--auth=scram-sha-256", f"--pwfile={secret}", "-E", "UTF8", "--locale=C.UTF-8",
        ]  # fmt: skip
        subprocess.run(
            command, check=True, capture_output=True, timeout=120, user=self.user, cwd=self.folder
        )

    def start(self) -> None:
        super().start()
        if not self.rows("SELECT 1 FROM pg_database WHERE datname = 'events'"):
            self.run(f"CREATE ROLE trunkline LOGIN PASSWORD '{PASSWORD}'")
            self.run(f"CREATE ROLE stranger LOGIN PASSWORD '{PASSWORD}'")
            self.run("CREATE DATABASE events OWNER trunkline")

    def spawn(self) -> None:
        options = [f"-p{self.port}", "-h127.0.0.1", f"-k{self.folder}", "-cssl=on"]
        options += [f"-cssl_{what}_file={self.folder}/localhost.pem" for what in ("cert", "key")]
        program = str(postgres_programs() / "postgres")
        self.launch([program, "-D", str(self.folder / "data"), *options])

    def is_ready(self) -> bool:
        return bool(self.rows("SELECT 1"))

    def rows(self, statement: str, *values: Any, database: str = "postgres") -> list[Any]:
        """Return the rows of a query of the administrator's."""
        with self.connect(database) as connection:
            return connection.execute(statement.encode(), values or None).fetchall()

    def run(self, statement: str, database: str = "postgres") -> None:
        """Run a statement of the administrator's."""
        with self.connect(database) as connection:
            connection.execute(statement.encode())

    def connect(self, database: str = "events") -> psycopg.Connection[Any]:
        """Return a connection of the administrator's; each statement stands alone."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="admin", password=PASSWORD, dbname=database,
            autocommit=True, connect_timeout=5,
        )  # fmt: skip
