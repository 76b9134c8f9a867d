"""One Redis that asks for a password and keeps every write on the disk before it answers."""

from __future__ import annotations

from typing import Any

import redis

from tests.support.servers.child import Child
from tests.support.servers.install_go import redis_program
from trunkline.kit.addresses import free_port

PASSWORD = "hunter2-of-redis"
# The default user cannot sign in and yet may all: Redis 7.0 reads its append-only file as that
# user, and drops every transaction of it that the user may not do.
SETTINGS = """
bind 127.0.0.1
port {port}
tls-port {tls_port}
tls-cert-file {folder}/localhost.pem
tls-key-file {folder}/localhost.pem
tls-ca-cert-file {folder}/ca.pem
tls-auth-clients no
dir {folder}
appendonly yes
appendfsync always
save ""
user default off ~* &* +@all
user trunkline on >{password} ~* &* +@all
user narrow on >{password} ~narrow ~trunkline:* +eval +exists +set +xadd +type +xlen +info
user reader on >{password} ~* +@read +info +eval
"""


class RedisServer(Child):
    """A server. `trunkline` may all, `reader` may not write, `narrow` what our guide asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.tls_port = free_port("127.0.0.1")

    def prepare(self) -> None:
        self.make_certificate()
        text = SETTINGS.format(
            port=self.port, tls_port=self.tls_port, folder=self.folder, password=PASSWORD
        )
        (self.folder / "redis.conf").write_text(text, "utf-8")

    @property
    def options(self) -> list[str]:
        """What is set otherwise than in its file."""
        return []

    def spawn(self) -> None:
        self.launch([str(redis_program()), str(self.folder / "redis.conf"), *self.options])

    def is_ready(self) -> bool:
        with self.connect() as client:
            return bool(client.ping())

    def connect(self) -> Any:
        """Return a client that may all."""
        return redis.Redis(
            "127.0.0.1", self.port, username="trunkline", password=PASSWORD, socket_timeout=10
        )

    def run(self, *command: Any) -> Any:
        """Run a command and return its answer."""
        with self.connect() as client:
            return client.execute_command(*command)

    def read(self, stream: str) -> list[dict[str, bytes]]:
        """Return all entries of a stream: field to value, in order."""
        with self.connect() as client:
            found = client.xrange(stream)
        return [{name.decode(): value for name, value in fields.items()} for _, fields in found]


class ForgetfulRedisServer(RedisServer):
    """A server that keeps nothing on the disk."""

    @property
    def options(self) -> list[str]:
        return ["--appendonly", "no"]
