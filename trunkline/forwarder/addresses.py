"""Which addresses a destination may reach, so that a URL cannot be aimed at the inside.

An operator types a URL, and its name may resolve to anything, today or tomorrow. So every address
is judged before it is connected to, and it is the *address* that is judged, never the name. An
IPv6 address that carries an IPv4 one (mapped, 6to4, NAT64) is what it carries. What is no unicast
address of the public internet is refused: IPv6 by a list of what is public, because whatever the
registry hands out next is not; IPv4 by a list of what is not.

Sources: the IANA registries of special-purpose addresses for IPv4 and IPv6, as of 2026.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address

_V4_REFUSED: tuple[tuple[IPv4Network, str], ...] = tuple(
    (IPv4Network(network), word)
    for network, word in (
        ("0.0.0.0/8", "unspecified"),  # on Linux, 0.0.0.0 connects to loopback
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier NAT"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),  # where clouds serve the credentials of a machine
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "reserved"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
_V6_REFUSED: tuple[tuple[IPv6Network, str], ...] = tuple(
    (IPv6Network(network), word)
    for network, word in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private"),
        ("ff00::/8", "multicast"),
        ("2001:db8::/32", "documentation"),
        ("3fff::/20", "documentation"),
        ("2001::/23", "reserved"),  # Teredo, ORCHID, benchmarking, AS112
    )
)
_V6_PUBLIC = IPv6Network("2000::/3")
_V6_MAPPED = IPv6Network("::ffff:0:0/96")
_V6_6TO4 = IPv6Network("2002::/16")
_V6_NAT64 = IPv6Network("64:ff9b::/96")


@lru_cache(maxsize=4096)
def refusal_of(address: str) -> str:
    """Say in a word why an address is not of the public internet; "" where it is.

    `ValueError` where the text is no address.
    """
    parsed = ip_address(address.partition("%")[0])
    carried = _carried(parsed)
    if carried is not None:
        return _refusal_v4(carried)
    if isinstance(parsed, IPv4Address):
        return _refusal_v4(parsed)
    word = next((word for network, word in _V6_REFUSED if parsed in network), "")
    return word or ("" if parsed in _V6_PUBLIC else "reserved")


def refusal_sentence(host: str, address: str, mend: str) -> str:
    """Say why a host is not reached, and what to do; `mend` is where its name stands."""
    return (
        f"{host} is at {address}, a {refusal_of(address)} address; set allow_private_addresses on "
        f"the destination to reach it, or correct {mend}"
    )


def public_of(addresses: Sequence[str]) -> list[str]:
    """Return the addresses that are of the public internet, in their order."""
    return [address for address in addresses if not refusal_of(address)]


def _refusal_v4(address: IPv4Address) -> str:
    return next((word for network, word in _V4_REFUSED if address in network), "")


def _carried(address: Address) -> IPv4Address | None:
    """Return the IPv4 address inside an IPv6 one, which is where its packets end up."""
    if isinstance(address, IPv4Address):
        return None
    if address in _V6_MAPPED or address in _V6_NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    if address in _V6_6TO4:
        return IPv4Address((int(address) >> 80) & 0xFFFF_FFFF)
    return None
