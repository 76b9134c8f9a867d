"""One RabbitMQ with its own port mapper, so that it meets no other on the machine."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pika

from tests.support.servers.child import Child
from tests.support.servers.install import find_program, rabbitmq_script
from trunkline.kit.addresses import free_port

PASSWORD = "hunter2-of-rabbitmq"
SETTINGS = """
listeners.tcp.1 = 127.0.0.1:{port}
listeners.ssl.1 = 127.0.0.1:{tls_port}
ssl_options.cacertfile = {folder}/ca.pem
ssl_options.certfile = {folder}/localhost.pem
ssl_options.keyfile = {folder}/localhost.pem
load_definitions = {folder}/definitions.json
log.console.level = warning
log.file = false
max_message_size = 300000
"""
DEFINITIONS = {
    "users": [
        {"name": "trunkline", "password": PASSWORD, "tags": []},
        {"name": "reader", "password": PASSWORD, "tags": []},
        {"name": "stranger", "password": PASSWORD, "tags": []},
    ],
    "vhosts": [{"name": "/"}],
    "permissions": [
        {"user": "trunkline", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"},
        {"user": "reader", "vhost": "/", "configure": "", "write": "", "read": ".*"},
    ],
}


class RabbitServer(Child):
    """A server. `trunkline` may all, `reader` may not write, `stranger` may not into the vhost."""

    def __init__(self) -> None:
        super().__init__()
        self.tls_port = free_port("127.0.0.1")
        self._mapper_port = free_port("127.0.0.1")
        self._node_port = free_port("127.0.0.1")

    def prepare(self) -> None:
        settings = SETTINGS.format(port=self.port, tls_port=self.tls_port, folder=self.folder)
        self.make_certificate()
        (self.folder / "rabbitmq.conf").write_text(settings, "utf-8")
        (self.folder / "definitions.json").write_text(json.dumps(DEFINITIONS), "utf-8")

    def spawn(self) -> None:
        mapper = [find_program("epmd", "Erlang"), "-address", "127.0.0.1"]
        self.launch([*mapper, "-port", str(self._mapper_port)])
        self.launch([str(rabbitmq_script())], self._environment())

    def is_ready(self) -> bool:
        self.connect().close()
        return True

    def connect(self) -> pika.BlockingConnection:
        """Return a connection that may do all."""
        return pika.BlockingConnection(
            pika.ConnectionParameters(
                "127.0.0.1", self.port, "/", pika.PlainCredentials("trunkline", PASSWORD)
            )
        )

    def make_queue(self, name: str, **arguments: Any) -> None:
        """Make a durable queue."""
        connection = self.connect()
        connection.channel().queue_declare(name, durable=True, arguments=arguments or None)
        connection.close()

    def wait_for_queue_on_disk(self, name: str) -> None:
        """Wait until a kill does not take the queue itself: its record is written later."""
        deadline = time.monotonic() + 60
        while not any(name.encode() in path.read_bytes() for path in self._metadata()):
            assert time.monotonic() < deadline, f"queue {name} never came to the disk"
            time.sleep(0.1)

    def _metadata(self) -> list[Path]:
        found = (self.folder / "mnesia").glob("*/*")
        return [path for path in found if path.suffix in (".LOG", ".DCD", ".DCL", ".DAT")]

    def read(self, queue: str) -> list[tuple[Any, bytes]]:
        """Take all messages of a queue: properties and body, in order."""
        connection = self.connect()
        channel = connection.channel()
        found: list[tuple[Any, bytes]] = []
        while True:
            method, properties, body = channel.basic_get(queue, auto_ack=True)
            if method is None:
                connection.close()
                return found
            found.append((properties, body or b""))

    def _environment(self) -> dict[str, str]:
        folder = str(self.folder)
        loopback = "-kernel inet_dist_use_interface {127,0,0,1}"
        return {
            "PATH": os.environ["PATH"],
            "HOME": folder,  # the cookie lies there
            "RUNNING_UNDER_SYSTEMD": "1",  # the script becomes the server: one process to kill
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": "rabbit@localhost",
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": loopback,
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/none",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{folder}/none.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{folder}/generated",
            "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_LOGS": "-",
        }
