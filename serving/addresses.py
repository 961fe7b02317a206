"""Which addresses on the network this service may call because a user says so: public ones alone.

Whoever calls must connect to an address that was returned here, not to the name again: a name may give another
address the next time it is asked. Knows nothing of HTTP.
"""

from __future__ import annotations

import ipaddress
import socket

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
# Not for the public though Python 3.11 calls them global: the local use of translators, relays, documentation,
# segment routing.
_SPECIAL = tuple(
    ipaddress.ip_network(network)
    for network in ("64:ff9b:1::/48", "192.88.99.0/24", "3fff::/20", "5f00::/16", "fec0::/10")
)


class NotPublic(Exception):
    """The name gives no address, or one that is not public."""


def is_public(address: Address) -> bool:
    """Whether anyone on the internet could call this address; one inside another (IPv4 in IPv6) decides."""
    inner = _inside(address)
    if inner is not None:
        return is_public(inner)
    if any(address in network for network in _SPECIAL if network.version == address.version):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _inside(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that packets to this IPv6 address end at."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def public_addresses(host: str, port: int) -> tuple[str, ...]:
    """The addresses of `host`, in the resolver's order; it may block for some seconds.

    Raises:
        NotPublic: it has none, or any of them is not public.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # names that no encoding of names can hold
        raise NotPublic(f"{host[:100]!r} has no address.") from error
    addresses = tuple(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
    if not all(is_public(ipaddress.ip_address(address)) for address in addresses):
        raise NotPublic(f"{host[:100]!r} is not public.")
    return addresses
