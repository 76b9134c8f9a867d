"""What a sender lets us keep of its address: the header `X-IP-Policy` of Jitsu's libraries.

A page that asks its visitors for no more than it needs says here that their address is not to be
stored. It holds for everything that is written of the request; the key is judged by the true one.
"""

from __future__ import annotations

import ipaddress

KEEP, CUT, REMOVE = "keep", "stripLastOctet", "remove"

_IPV4_BITS = 24
_IPV6_BITS = 48  # what a provider gives one site; less than that tells a household


def hide_address(address: str, policy: str) -> str:
    """Return the part of an address that may be kept; "" where it is none or may not be kept.

    `policy` is `keep` or empty, `stripLastOctet` or `remove`, ignoring case. Another one is taken
    for `remove`: who asks for less in words that are not known here asks for less all the same.
    """
    asked = policy.strip().lower()
    if asked in ("", KEEP):
        return address
    return _cut(address) if asked == CUT.lower() else ""


def _cut(address: str) -> str:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    bits = _IPV4_BITS if found.version == 4 else _IPV6_BITS
    return str(ipaddress.ip_network((found, bits), strict=False).network_address)
