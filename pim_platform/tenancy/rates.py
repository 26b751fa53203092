"""How many requests a caller, or an address without a credential, may send; shared by every API process.

A limit is a quota per window, and a window begins with its first request: what is left and when it ends can be told
exactly, as the fields of :mod:`pim_platform.api.rate_limits` want it. The price is that a caller who sends its whole
quota at the end of one window and again at the start of the next reaches twice the rate for a moment.
"""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import Engine, text

from pim_platform.errors import InvalidRequest, NotFound, TooManyRequests
from pim_platform.storage.postgres import call_definer, tenant_session
from pim_platform.tenancy.audit import Actor, record

#: How long a process remembers that a key has no limit before it asks again.
_UNLIMITED_SECONDS = 15.0
#: How often a process forgets whose window has ended.
_SWEEP_SECONDS = 300.0
#: What one customer of an IPv6 network has for itself (RFC 6177): a limit per address would be none.
_IPV6_NETWORK = 64

_SET = text(
    "UPDATE pim.api_keys SET rate_limit = :requests WHERE tenant_id = :tenant AND revoked_at IS NULL "
    "AND (id::text = :key OR prefix = :key) RETURNING id"
)
_TAKE = "SELECT * FROM pim.take_request(:bucket, :quota, :seconds, :tenant, :key)"


@dataclass(frozen=True)
class Allowance:
    """What a limit leaves after a request: ``remaining`` of ``quota`` requests for another ``resets_in`` seconds."""

    policy: str
    quota: int
    window: int
    remaining: int
    resets_in: float
    admitted: bool = True
    asked: int = 0
    """The quota that was asked for: another installation's setting in this process is another limit."""

    @property
    def seconds(self) -> int:
        """Whole seconds until the window has ended for certain."""
        return max(1, math.ceil(self.resets_in))


_guard = threading.Lock()
_unlimited: dict[str, float] = {}
#: Who may send nothing more before that moment: a flood of refused requests need not reach the database.
_refused: dict[str, tuple[float, Allowance]] = {}
_swept = time.monotonic()


def take_for_caller(
    engine: Engine, tenant_id: UUID, caller: str, *, default_quota: int, window: int
) -> Allowance | None:
    """Count a request of a caller (``key:<id>``, ``user:<id>``); None where it has no limit.

    A key's own limit comes before ``default_quota``. Where it is one too many the answer says so; nothing is raised.
    """
    bucket = f"{tenant_id}:{caller}"
    with _guard:
        if _unlimited.get(bucket, 0.0) > time.monotonic():
            return None
    kind, _, number = caller.partition(":")
    key = UUID(number) if kind == "key" else None
    if key is None and not default_quota:
        return None
    found = _take(engine, bucket, "requests", default_quota, window, tenant_id if key else None, key)
    if found is None:
        with _guard:
            _unlimited[bucket] = time.monotonic() + _UNLIMITED_SECONDS
    return found


def take_for_address(engine: Engine, address: str | None, *, quota: int, window: int) -> Allowance | None:
    """Count a request of an address that shows no valid credential; None where there is no limit, or no address."""
    if not quota or address is None:
        return None
    place = ipaddress.ip_address(address)
    if isinstance(place, ipaddress.IPv6Address):
        place = ipaddress.ip_address(int(place) >> (128 - _IPV6_NETWORK) << (128 - _IPV6_NETWORK))
    return _take(engine, f"address:{place}", "address", quota, window, None, None)


def is_first_use(engine: Engine, name: str, *, seconds: int) -> bool:
    """Whether nobody has used ``name`` in the last ``seconds``, whichever process asks; from now on somebody has."""
    (row,) = call_definer(engine, _TAKE, bucket=f"once:{name}", quota=1, seconds=seconds, tenant=None, key=None)
    return bool(row["admitted"])


def _take(
    engine: Engine, bucket: str, policy: str, quota: int, window: int, tenant_id: UUID | None, key_id: UUID | None
) -> Allowance | None:
    _sweep(engine)
    with _guard:
        until, refused = _refused.get(bucket, (0.0, None))
    if refused is not None and (left := until - time.monotonic()) > 0 and quota == refused.asked:
        return replace(refused, resets_in=left)
    (row,) = call_definer(engine, _TAKE, bucket=bucket, quota=quota, seconds=window, tenant=tenant_id, key=key_id)
    if not row["quota"]:
        return None
    found = Allowance(policy, row["quota"], window, row["remaining"], row["resets_in"], row["admitted"], quota)
    if not found.admitted:
        with _guard:
            _refused[bucket] = (time.monotonic() + found.resets_in, found)
    return found


def _sweep(engine: Engine) -> None:
    global _swept
    with _guard:
        if time.monotonic() - _swept < _SWEEP_SECONDS:
            return
        _swept = now = time.monotonic()
        for bucket in [bucket for bucket, (until, _) in _refused.items() if until <= now]:
            del _refused[bucket]
        for bucket in [bucket for bucket, until in _unlimited.items() if until <= now]:
            del _unlimited[bucket]
    forget_requests(engine)


def forget_requests(engine: Engine) -> int:
    """Forget every caller and address whose window has ended; returns how many."""
    (row,) = call_definer(engine, "SELECT pim.forget_requests() AS forgotten")
    return int(row["forgotten"])


def set_key_limit(engine: Engine, tenant_id: UUID, key: str, requests: int | None, *, actor: Actor) -> None:
    """Give a key of a tenant a limit of its own, found by id or by the part of it that is shown.

    ``requests`` per window; None: as the installation says, 0: no limit. A process that took the key for one without a
    limit notices within seconds. Raises NotFound, InvalidRequest.
    """
    if requests is not None and not 0 <= requests < 2**31:
        raise InvalidRequest(f"{requests} is no limit.", fix="Give requests per window, 0 for none.", value=requests)
    with tenant_session(engine, tenant_id) as session:
        changed = session.scalars(_SET, {"tenant": tenant_id, "key": key, "requests": requests}).all()
        if not changed:
            raise NotFound(f"There is no key {key!r}.", fix="Give its id or its prefix.", code="unknown_key", value=key)
        for found in changed:
            record(session, actor, "key.limit_changed", "api_key", str(found), rate_limit=requests)


def require_admitted(allowance: Allowance | None) -> None:
    """Raise TooManyRequests where the request was one too many."""
    if allowance is None or allowance.admitted:
        return
    who = "This key or user" if allowance.policy == "requests" else "This address"
    raise TooManyRequests(
        f"{who} has sent {allowance.quota:,} requests within {allowance.window} s, as many as it may.",
        fix=f"Wait {allowance.seconds} s; the fields RateLimit and RateLimit-Policy of every answer say what is left.",
        retry_after=allowance.seconds,
        code="rate_limited",
    )
