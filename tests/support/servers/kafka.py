"""One Kafka broker that is its own controller (KRaft), with a sign-in beside the open listener."""

from __future__ import annotations

import subprocess
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.support.servers.child import Child
from tests.support.servers.install import java, kafka_jars
from trunkline.kit.addresses import free_port, is_listening

PASSWORD = "hunter2-of-kafka"
CLUSTER = "dHJ1bmtsaW5lLXRlc3RzMA"
SETTINGS = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{sasl_port},SSL://127.0.0.1:{tls_port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{sasl_port},SSL://localhost:{tls_port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL
ssl.keystore.type=PEM
ssl.keystore.location={folder}/localhost.pem
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_trunkline="{password}" user_stranger="{password}";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:trunkline
log.dirs={folder}/log
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
auto.create.topics.enable=false
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
"""  # noqa: E501  one property is one line


class KafkaServer(Child):
    """A broker. `sasl_port` asks for a sign-in: `trunkline` may all, `stranger` nothing.

    `tls_port` speaks TLS.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sasl_port = free_port("127.0.0.1")
        self.tls_port = free_port("127.0.0.1")
        self._controller = free_port("127.0.0.1")

    @property
    def address(self) -> str:
        """Where it listens without a sign-in."""
        return f"127.0.0.1:{self.port}"

    def prepare(self) -> None:
        self.make_certificate()
        values = {
            "port": self.port,
            "sasl_port": self.sasl_port,
            "tls_port": self.tls_port,
            "controller": self._controller,
            "folder": self.folder,
            "password": PASSWORD,
        }
        self._settings.write_text(SETTINGS.format(**values), "utf-8")
        format_disk = ["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c"]
        command = [*self._java(), *format_disk, str(self._settings)]
        subprocess.run(command, check=True, capture_output=True, timeout=120)

    def spawn(self) -> None:
        self.launch([*self._java(), "kafka.Kafka", str(self._settings)])

    def is_ready(self) -> bool:
        if not is_listening("127.0.0.1", self.port):
            return False
        return bool(self.admin().list_topics(timeout=5).brokers)

    def admin(self) -> AdminClient:
        """Return a client that may do all."""
        return AdminClient({"bootstrap.servers": self.address, "log_level": 0})

    def make_topic(self, name: str, partitions: int = 3, **config: str) -> None:
        """Make a topic and wait until it is there."""
        topic = NewTopic(
            name, partitions, 1, config={k.replace("_", "."): v for k, v in config.items()}
        )
        admin = self.admin()  # held: its answers end with it
        admin.create_topics([topic])[name].result(60)

    def read(self, topic: str) -> list[Any]:
        """Return all messages of a topic, partition by partition, each in order."""
        consumer = Consumer(
            {"bootstrap.servers": self.address, "group.id": "reader", "log_level": 0}
        )
        try:
            partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
            return [m for number in partitions for m in self._read(consumer, topic, number)]
        finally:
            consumer.close()

    def _read(self, consumer: Consumer, topic: str, number: int) -> list[Any]:
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=30)
        consumer.assign([TopicPartition(topic, number, 0)])
        found: list[Any] = []
        while len(found) < end and (got := consumer.consume(end - len(found), timeout=30)):
            found += got
        return found

    @property
    def _settings(self) -> Any:
        return self.folder / "server.properties"

    def _java(self) -> list[str]:
        # A small heap, a quick start, nothing of the tools' defaults.
        return [
            java(), "-Xmx320m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{kafka_jars()}/*",
        ]  # fmt: skip
