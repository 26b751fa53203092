"""Which addresses and ports the platform may call for its users: the pure half of the outbound guard.

Belongs here: what an IP address, a port or a URL is. Does not: resolving and calling
(:mod:`pim_platform.storage.outbound`).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httpx

from pim_platform.errors import AddressRefused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_URL_LENGTH = 2_048

# IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890), and multicast (RFC 5771). What ipaddress calls
# `is_private` or `is_global` changed between patch releases of Python, so the list is written out.
_REFUSED_V4: Final = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# Only global unicast (RFC 4291) is public, which leaves out loopback, link-local, unique local, multicast,
# IPv4-mapped, IPv4-compatible and NAT64 (64:ff9b::/96) forms; of it not Teredo and the like, documentation and 6to4.
_GLOBAL_V6: Final = ipaddress.IPv6Network("2000::/3")
_REFUSED_V6: Final = tuple(
    ipaddress.IPv6Network(text)
    for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)
# Where clouds answer with credentials of the machine: never reachable, whatever a developer allows wholesale.
_METADATA: Final[tuple[Network, ...]] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "169.254.0.0/16",  # AWS, Google, Azure, Oracle and others: 169.254.169.254; AWS's tasks: 169.254.170.2
        "fd00:ec2::/32",  # AWS over IPv6: fd00:ec2::254
        "fe80::/10",
        "100.100.100.200/32",  # Alibaba
        "192.0.0.192/32",  # Oracle
        "168.63.129.16/32",  # Azure's wire server, a public address
    )
)
# The ports that browsers refuse (https://fetch.spec.whatwg.org/#port-blocking), above 1023; below only 80 and 443 pass.
_BAD_PORTS: Final = frozenset(
    {1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080}
)
_WELL_KNOWN = 1_024
_LAST_PORT = 65_535
_WEB_PORTS: Final = frozenset({80, 443})


@dataclass(frozen=True)
class Target:
    """A URL taken apart: what is called, before its name is resolved. ``host`` is in ASCII (IDNA), without brackets."""

    url: str
    scheme: str
    host: str
    port: int

    @property
    def origin(self) -> tuple[str, str, int]:
        """What connections belong to."""
        return self.scheme, self.host, self.port


def without_query(url: str) -> str:
    """A URL as messages and logs show it: feeds carry tokens in their query, and some in the userinfo."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(not a URL)"
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}{port}{parts.path}"[:_URL_LENGTH]


def parse_url(url: str, *, allow_http: bool) -> Target:
    """Take a URL that a user gave apart. Raises AddressRefused where it is none that may be called."""
    shown = without_query(url)

    def refused(why: str, fix: str) -> AddressRefused:
        return AddressRefused(f"The address {shown!r} cannot be called: {why}.", fix=fix, value=shown)

    if len(url) > _URL_LENGTH:
        raise refused(f"it has {len(url)} characters", f"Give a URL of at most {_URL_LENGTH} characters.")
    if any(ord(char) <= 32 or ord(char) == 127 for char in url) or "\\" in url:
        raise refused("it holds blanks, control characters or backslashes", "Percent-encode them.")
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise refused(f"it is not a URL ({error})", "Give a full one, such as https://shop.example/hook.") from error
    schemes = ("https", "http") if allow_http else ("https",)
    if parsed.scheme not in schemes:
        raise refused(
            f"its scheme is {parsed.scheme or 'missing'!r}",
            "Use https:// (http:// only where the operator set PIM_OUTBOUND_ALLOW_HTTP)."
            if not allow_http
            else "Use https:// or http://.",
        )
    if parsed.userinfo:
        raise refused("it carries a user name or password", "Take them out of the URL; send a header or a token.")
    host = parsed.raw_host.decode("ascii").strip("[]").rstrip(".").lower()
    if not host:
        raise refused("it names no host", "Give a full one, such as https://shop.example/hook.")
    port = parsed.port or (443 if parsed.scheme == "https" else 80)
    if (port < _WELL_KNOWN and port not in _WEB_PORTS) or port > _LAST_PORT or port in _BAD_PORTS:
        raise refused(f"port {port} is not one of the web", "Use 443, 80 or a port from 1024 up.")
    return Target(str(parsed.copy_with(fragment=None)), parsed.scheme, host, port)


def is_public(address: Address) -> bool:
    """Whether an address is an ordinary one of the public internet."""
    if any(address in network for network in _METADATA):
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    return address in _GLOBAL_V6 and not any(address in network for network in _REFUSED_V6)


def is_metadata(address: Address) -> bool:
    """Whether a cloud answers with credentials there (link-local as a whole is counted in)."""
    plain = getattr(address, "ipv4_mapped", None) or address
    return any(plain in network for network in _METADATA)
