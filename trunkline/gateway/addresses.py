"""Whose request it is: the connection's address, or what trusted proxies say stands behind it.

`X-Forwarded-For` is a list that every hop adds to on the right, so only its right end can be
believed, and only as far as hops that the operator trusts wrote it. The caller is the rightmost
address that is no trusted proxy. What is no address ends the walk: the hop that reported it is the
last thing known. Anything else lets a caller choose the address that an allow list sees.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from trunkline.model.snapshot import is_address_in, networks

_HOPS_MAX = 32  # a chain of more proxies than this is an attempt, not a network


@lru_cache(maxsize=8192)
def parse_address(text: str) -> str | None:
    """Return the canonical address in `text`, or None where it is none.

    Takes `1.2.3.4`, `1.2.3.4:80`, `2001:db8::1`, `[2001:db8::1]:443`, zones (`fe80::1%eth0`), and
    quotes; an IPv4-mapped IPv6 address is its IPv4 address.
    """
    text = text.strip().strip('"')
    if text[:1] == "[":
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


class Callers:
    """Finds the caller of a request, given which proxies are believed."""

    def __init__(self, trusted_proxies: tuple[str, ...]) -> None:
        """Raises `ValueError` naming the entry that is no address and no range."""
        try:
            networks(trusted_proxies)
        except ValueError as error:
            raise ValueError(
                f"gateway.trusted_proxies: {error}; give addresses or CIDR ranges"
            ) from error
        self._trusted = trusted_proxies

    def find(self, client: str, forwarded_for: str) -> str:
        """Return the caller's address. `client` is `address:port` of the connection."""
        host = client.rpartition(":")[0]
        if not self._trusted:
            # The plain case, a connection over IPv4, is canonical already.
            return host if host[:1] != "[" and host else parse_address(client) or ""
        peer = parse_address(client) or ""
        if not forwarded_for or not self._is_trusted(peer):
            return peer
        return self._walk(peer, forwarded_for)

    def _walk(self, peer: str, forwarded_for: str) -> str:
        caller = peer
        for entry in reversed(forwarded_for.rsplit(",", _HOPS_MAX)[-_HOPS_MAX:]):
            # Longer than any address with its zone: not worth a place in the cache.
            address = parse_address(entry) if len(entry) <= 80 else None
            if address is None:
                return caller
            caller = address
            if not self._is_trusted(address):
                return caller
        return caller

    def _is_trusted(self, address: str) -> bool:
        return bool(address) and is_address_in(address, self._trusted)
