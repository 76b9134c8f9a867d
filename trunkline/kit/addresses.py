"""Addresses that a node listens on: `127.0.0.1:8080`, `[::1]:8080`; and hosts of settings."""

from __future__ import annotations

import contextlib
import socket
from random import SystemRandom

# Above what programs are known by, below what systems give to connections (Linux from 32,768 on).
_PORTS = range(18_000, 32_000)
_TRIES = 20
_DICE = SystemRandom()  # two processes that were seeded alike must not meet


class ListenError(Exception):
    """A port cannot be listened on; the message says why and what to do."""


def split_address(text: str) -> tuple[str, int]:
    """Split `host:port` or `[host]:port`; `ValueError` says what was expected."""
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is no address; expected HOST:PORT, say 127.0.0.1:8080")
    return host.strip("[]"), int(port)


def hosts_in(text: str) -> list[str]:
    """Return the hosts of a setting: `HOST`, `HOST:PORT` or a URL, several parted by commas.

    A path is a socket of this machine, so it is `localhost`.
    """
    return [_host_of(part.strip()) for part in text.split(",") if part.strip()]


def _host_of(text: str) -> str:
    if text.startswith("/"):
        return "localhost"
    place = text.partition("://")[2] or text
    place = place.partition("/")[0].rpartition("@")[2]
    if place.startswith("["):
        return place[1:].partition("]")[0]
    return place if place.count(":") > 1 else place.partition(":")[0]


def free_port(host: str) -> int:
    """Return a port nobody listens on; where one is to be had, none that connections are given.

    Those would lose it to somebody's connection while who listens there begins again.
    """
    for _ in range(_TRIES):
        probe = socket.socket(_family(host), socket.SOCK_STREAM)
        with probe, contextlib.suppress(OSError):
            probe.bind((host, _DICE.choice(_PORTS)))
            return int(probe.getsockname()[1])
    with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def is_listening(host: str, port: int) -> bool:
    """Say whether somebody listens there."""
    with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((host, port)) == 0


def check_listen(host: str, port: int) -> None:
    """Raise `ListenError` where the port is taken or the address is not of this machine.

    Gateways share their port, so the kernel would let a second node of the same user take half of
    the events unnoticed.
    """
    with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ListenError(
                f"{host}:{port} cannot be listened on ({error.strerror}); stop what uses it, or "
                "give another address"
            ) from error


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
