"""The one way to make HTTP calls to addresses that users give: webhooks and feeds.

A name is resolved once per connection pool, every address it has is checked, and the connection goes to exactly the
address that was checked, while Host header, SNI and certificate stay those of the name: what a name server says a
moment later changes nothing (DNS rebinding). Redirects are followed by hand, each hop checked like the first, or not
at all. The environment's proxies and credentials are not used. All of a call is under one deadline, so a server that
sends a byte now and then ends as well.

Belongs here: resolving, calling, limits. Does not: which addresses are public (:mod:`pim_platform.storage.addresses`),
what is sent or fetched. No table.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.message import Message
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import unquote

import certifi
import httpx

from pim_platform.errors import AddressRefused, Misconfigured, RemoteRefused, RemoteUnavailable
from pim_platform.settings import Settings
from pim_platform.storage.addresses import (
    Address,
    Network,
    Target,
    is_metadata,
    is_public,
    parse_url,
    without_query,
)
from pim_platform.storage.patience import asked_to_wait

_CONNECT_SECONDS = 10.0
_CONNECT_LEAST = 2.0
_STALL_SECONDS = 60.0  # between two pieces of a download
#: As long as a server's Retry-After is obeyed: one that names next year has made a mistake.
LONGEST_WAIT_SECONDS = 86_400.0
_REDIRECTS = 5
_REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
# More than one coding, or one that unpacks a few bytes to gigabytes in one step (br, zstd), is refused.
_CODINGS = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})
_AGENT = "pim-platform"
_FORWARDED = frozenset({"accept", "if-none-match", "if-modified-since"})  # may follow a redirect to another origin

# Of its own: a few names whose servers are dead must not use up the threads that all of asyncio shares.
_resolving = ThreadPoolExecutor(max_workers=32, thread_name_prefix="resolve")


class Sink(Protocol):
    """What takes the bytes of a download: a file opened for binary writing, or whatever writes like one."""

    def write(self, data: bytes, /) -> object:
        """Take the next bytes."""


@dataclass(frozen=True)
class Policy:
    """What may be called. ``hosts`` empty: any host; ``*.example.com`` stands for all below example.com."""

    allow_http: bool = False
    allow_private: bool = False
    private_networks: tuple[Network, ...] = ()
    hosts: tuple[str, ...] = ()
    ca_file: Path | None = None

    @classmethod
    def for_calls(cls, settings: Settings) -> Self:
        """The rules for calling receivers (webhooks). Raises Misconfigured where a setting cannot be read."""
        return cls(
            allow_http=settings.outbound_allow_http or settings.outbound_allow_private,
            allow_private=settings.outbound_allow_private,
            private_networks=_networks(settings.outbound_private_networks),
            ca_file=settings.outbound_ca_file,
        )

    @classmethod
    def for_fetches(cls, settings: Settings) -> Self:
        """The rules for fetching files: those for calls, and only of the hosts that the operator allows."""
        calls = cls.for_calls(settings)
        hosts = tuple(host.strip().lower() for host in settings.outbound_fetch_hosts.split(",") if host.strip())
        return cls(calls.allow_http, calls.allow_private, calls.private_networks, hosts, calls.ca_file)

    def check_url(self, url: str) -> Target:
        """What a URL names. Raises AddressRefused (not a URL, scheme, userinfo, port, host not allowed)."""
        target = parse_url(url, allow_http=self.allow_http)
        if self.hosts and not any(_is_host(target.host, allowed) for allowed in self.hosts):
            raise AddressRefused(
                f"The address {without_query(url)!r} cannot be called: files are not fetched from {target.host!r}.",
                fix=f"Allowed: {', '.join(self.hosts)}. The operator adds hosts in PIM_OUTBOUND_FETCH_HOSTS.",
                value=without_query(url),
                expected=list(self.hosts),
            )
        return target

    def may_reach(self, address: Address) -> bool:
        """Whether a connection may go to this address."""
        if any(address in network for network in self.private_networks):
            return True
        return is_public(address) or (self.allow_private and not is_metadata(address))


def _is_host(host: str, allowed: str) -> bool:
    return host.endswith(allowed[1:]) if allowed.startswith("*.") else host == allowed


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise Misconfigured(
            f"PIM_OUTBOUND_PRIVATE_NETWORKS holds no networks: {error}.", fix="Write 10.1.2.0/24, fd12::/64."
        ) from error


@cache
def _trusted(ca_file: Path | None) -> ssl.SSLContext:
    """What certificates are checked with; reading the authorities takes a while, so it is done once."""
    context = ssl.create_default_context(cafile=certifi.where())
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    return context


async def _resolve(target: Target, policy: Policy) -> list[str]:
    """All addresses of a host, checked. Raises AddressRefused (one may not be reached), RemoteUnavailable (none)."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.run_in_executor(
            _resolving, lambda: socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        )
    except (socket.gaierror, UnicodeError) as error:
        raise RemoteUnavailable(
            f"{without_query(target.url)!r} cannot be reached: the name {target.host!r} has no address ({error}).",
            fix="Correct the host name, or try again when its name server answers.",
            value=target.host,
        ) from error
    addresses = list(dict.fromkeys(str(entry[4][0]).split("%", 1)[0] for entry in found))
    for address in addresses:
        # The message does not say which address: who may not reach a network need not learn its addresses either.
        if not policy.may_reach(ipaddress.ip_address(address)):
            raise AddressRefused(
                f"The address {without_query(target.url)!r} cannot be called: {target.host!r} is not on the public "
                "internet.",
                fix="Use a public address, or let the operator open its network in PIM_OUTBOUND_PRIVATE_NETWORKS.",
                value=target.host,
            )
    return addresses


def check_address(url: str, policy: Policy, *, seconds: float = 5.0) -> Target:
    """Say early whether a URL may be called; every call checks again.

    A name that has no address now (or whose name server does not answer in ``seconds``) passes: it may have one later.
    Raises AddressRefused. Not to be called from a coroutine.
    """
    target = policy.check_url(url)

    async def run() -> None:
        try:
            async with asyncio.timeout(seconds):
                await _resolve(target, policy)
        except (RemoteUnavailable, TimeoutError):
            return

    asyncio.run(run())
    return target


@dataclass(frozen=True)
class Answer:
    """What a receiver said. ``body`` holds its first bytes, ``truncated`` whether there were more; ``ms`` in all."""

    status: int
    ms: int
    body: bytes
    truncated: bool
    headers: Mapping[str, str]


@dataclass
class _Pinned:
    """The connections to one origin, and the checked addresses they go to."""

    client: httpx.AsyncClient
    addresses: list[str]


@dataclass
class Caller:
    """Calls under one policy; keeps connections until it is closed. An asynchronous context manager."""

    policy: Policy
    connections: int = 10  # to one origin
    _pinned: dict[tuple[str, str, int], _Pinned] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pinned in self._pinned.values():
            await pinned.client.aclose()
        self._pinned.clear()

    async def _pin(self, target: Target) -> _Pinned:
        if target.origin not in self._pinned:
            addresses = await _resolve(target, self.policy)
            if target.origin not in self._pinned:
                client = httpx.AsyncClient(
                    verify=_trusted(self.policy.ca_file),
                    trust_env=False,
                    follow_redirects=False,
                    # Nobody's cookies: calls for several users may share the connections of an origin.
                    cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                    limits=httpx.Limits(max_connections=self.connections, max_keepalive_connections=self.connections),
                )
                self._pinned[target.origin] = _Pinned(client, addresses)
        return self._pinned[target.origin]

    async def _open(
        self, method: str, target: Target, headers: Mapping[str, str], content: bytes | None
    ) -> httpx.Response:
        """Send a request to the first of the host's addresses that takes the connection; the body is not read yet."""
        pinned = await self._pin(target)
        url = httpx.URL(target.url)
        sent = {"User-Agent": _AGENT, "Accept-Encoding": "gzip", **headers, "Host": url.netloc.decode("ascii")}
        # All of a host's addresses share the time: one that swallows packets must not use up the others' chance.
        connect = max(_CONNECT_SECONDS / len(pinned.addresses), _CONNECT_LEAST)
        failed: httpx.TransportError | None = None
        for address in pinned.addresses:
            request = pinned.client.build_request(
                method,
                url.copy_with(host=address),
                headers=sent,
                content=content,
                timeout=httpx.Timeout(_STALL_SECONDS, connect=connect),
                extensions={"sni_hostname": target.host},
            )
            try:
                response = await pinned.client.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failed = error  # nothing was sent: the next address may be alive
                continue
            coding = response.headers.get("content-encoding", "").strip().lower()
            if coding not in _CODINGS:
                await response.aclose()
                raise RemoteRefused(
                    f"{without_query(target.url)!r} answered in the encoding {coding[:60]!r}.",
                    fix="Let it answer plainly or in gzip.",
                )
            return response
        raise failed or RemoteUnavailable(f"{without_query(target.url)!r} has no address.")

    async def call(
        self,
        method: str,
        url: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = 20.0,
        keep: int = 1_024,
    ) -> Answer:
        """Call once, without following redirects; ``seconds`` for all of it, ``keep`` bytes of the answer's body.

        Raises AddressRefused, RemoteUnavailable (no connection, no answer in time), RemoteRefused (its encoding).
        """
        target = self.policy.check_url(url)
        started = time.monotonic()
        body, truncated = b"", False
        try:
            async with asyncio.timeout(seconds):
                response = await self._open(method, target, headers or {}, content)
                try:
                    async for piece in response.aiter_bytes():
                        body += piece[: keep + 1 - len(body)]
                        if len(body) > keep:
                            # The rest is not worth the wait; a receiver that sends for ever has answered all the same.
                            truncated = True
                            break
                finally:
                    await response.aclose()
        except (httpx.HTTPError, TimeoutError, ssl.SSLError) as error:
            raise _unavailable(target, error, seconds) from error
        ms = round((time.monotonic() - started) * 1_000)
        return Answer(response.status_code, ms, body[:keep], truncated, dict(response.headers))

    async def fetch(
        self,
        url: str,
        into: Sink,
        *,
        max_bytes: int,
        seconds: float,
        headers: Mapping[str, str] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Downloaded:
        """See :func:`download`."""
        sent = dict(headers or {})
        first = self.policy.check_url(url)
        target = first
        try:
            async with asyncio.timeout(seconds):
                for _ in range(_REDIRECTS + 1):
                    response = await self._open("GET", target, sent, None)
                    try:
                        if response.status_code not in _REDIRECT_STATUSES or "location" not in response.headers:
                            return await _save(response, first, target, into, max_bytes, progress)
                        following = self._follow(target, response.headers["location"])
                    finally:
                        await response.aclose()
                    if following.origin != target.origin:
                        sent = {name: value for name, value in sent.items() if name.lower() in _FORWARDED}
                    target = following
        except (httpx.HTTPError, TimeoutError, ssl.SSLError) as error:
            raise _unavailable(target, error, seconds) from error
        raise RemoteRefused(
            f"{without_query(url)!r} redirects more than {_REDIRECTS} times.", fix="Give the address it ends at."
        )

    def _follow(self, target: Target, location: str) -> Target:
        try:
            following = str(httpx.URL(target.url).join(location))
        except (httpx.InvalidURL, ValueError) as error:
            raise RemoteRefused(
                f"{without_query(target.url)!r} redirects to what is not a URL.", fix="Give the address it ends at."
            ) from error
        checked = self.policy.check_url(following)
        if target.scheme == "https" and checked.scheme != "https":
            raise AddressRefused(
                f"{without_query(target.url)!r} redirects from https to {without_query(following)!r}.",
                fix="Give an address that stays with https.",
                value=without_query(following),
            )
        return checked


@dataclass(frozen=True)
class Downloaded:
    """What was fetched. ``status`` 304: it has not changed since the etag or date that was sent, and nothing came."""

    url: str  # the last hop's
    status: int
    size: int
    file_name: str
    content_type: str
    etag: str | None
    last_modified: str | None


def download(
    url: str,
    into: Sink,
    policy: Policy,
    *,
    max_bytes: int,
    seconds: float,
    headers: Mapping[str, str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Downloaded:
    """Fetch a file into ``into``, in pieces, at most ``max_bytes`` in ``seconds``.

    Transport compression is undone and the limit holds for what comes out of it. ``headers``: such as
    ``If-None-Match``; what is not harmless is dropped where a redirect leads to another origin. ``progress`` is given
    the bytes so far after every piece and may raise to stop. What is in ``into`` after an error is worthless.

    Raises AddressRefused (the URL or a redirect must not be called), RemoteRefused (it answered that it will not, or
    sends more than ``max_bytes``), RemoteUnavailable (no answer, or not all of it in time; it answered 429 or 5xx, with
    the ``retry_after`` it asked for). Not for coroutines.
    """

    async def run() -> Downloaded:
        async with Caller(policy) as caller:
            return await caller.fetch(
                url, into, max_bytes=max_bytes, seconds=seconds, headers=headers, progress=progress
            )

    return asyncio.run(run())


async def _save(
    response: httpx.Response,
    first: Target,
    target: Target,
    into: Sink,
    max_bytes: int,
    progress: Callable[[int], None] | None,
) -> Downloaded:
    shown = without_query(target.url)
    status = response.status_code
    if status == 429 or status >= 500:
        told = response.headers
        wait = asked_to_wait(told.get("retry-after"), longest=LONGEST_WAIT_SECONDS, date=told.get("date"))
        asks = "" if wait is None else f" and asks to be left alone for {wait:.0f} s"
        raise RemoteUnavailable(
            f"{shown!r} answered {status}{asks}.",
            fix="Try again later." if wait is None else "Try again then.",
            retry_after=wait,
            value=shown,
            status=status,
        )
    if status not in (200, 304):
        raise RemoteRefused(
            f"{shown!r} answered {status} instead of the file.",
            fix="Open it in a browser that is not logged in: it must give the file itself.",
            value=shown,
            expected=200,
            status=status,
        )
    too_large = RemoteRefused(
        f"{shown!r} sends more than {max_bytes} bytes.",
        fix="Split the file, or raise the limit (PIM_MAX_UPLOAD_BYTES).",
        code="too_large",
        value=shown,
    )
    length = response.headers.get("content-length", "")
    if status == 200 and length.isdecimal() and int(length) > max_bytes:
        raise too_large
    size = 0
    if status == 200:
        async for piece in response.aiter_bytes():
            size += len(piece)
            if size > max_bytes:
                raise too_large
            into.write(piece)
            if progress is not None:
                progress(size)
    return Downloaded(
        url=target.url,
        status=status,
        size=size,
        file_name=_file_name(response.headers.get("content-disposition"), first, target),
        content_type=response.headers.get("content-type", "").split(";", 1)[0].strip().lower(),
        etag=response.headers.get("etag"),
        last_modified=response.headers.get("last-modified"),
    )


def _file_name(disposition: str | None, first: Target, target: Target) -> str:
    """What to call the file: as the server does (RFC 6266), else as the URL's path ends; never with folders."""
    names = []
    if disposition:
        message = Message()
        message["Content-Disposition"] = disposition.replace("\n", " ").replace("\r", " ")
        names.append(message.get_filename() or "")
    names += [unquote(httpx.URL(hop.url).path) for hop in (first, target)]
    for name in names:
        last = PurePosixPath(name.replace("\\", "/").replace("\0", "")).name
        if last not in ("", ".", ".."):
            return last
    return target.host


def _unavailable(target: Target, error: Exception, seconds: float) -> RemoteUnavailable:
    shown = without_query(target.url)
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        why, fix = f"it did not answer completely within {seconds:g} s", "Try again when it is quicker."
    elif "CERTIFICATE" in str(error).upper():
        why, fix = (
            f"its certificate is not trusted ({error})",
            "Renew it, or add its authority to PIM_OUTBOUND_CA_FILE.",
        )
    else:
        why, fix = str(error) or type(error).__name__, "Try again when it is up."
    return RemoteUnavailable(f"{shown!r} cannot be reached: {why}.", fix=fix, value=shown)
