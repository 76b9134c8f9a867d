"""Addresses that a node listens on: `127.0.0.1:8080`, `[::1]:8080`."""

from __future__ import annotations

import socket


class ListenError(Exception):
    """A port cannot be listened on; the message says why and what to do."""


def split_address(text: str) -> tuple[str, int]:
    """Split `host:port` or `[host]:port`; `ValueError` says what was expected."""
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is no address; expected HOST:PORT, say 127.0.0.1:8080")
    return host.strip("[]"), int(port)


def free_port(host: str) -> int:
    """Return a port nobody listens on."""
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
