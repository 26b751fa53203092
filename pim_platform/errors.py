"""Every exception the platform raises on purpose, in one tree.

::

    PimError                      code, message, fix, place; terminal unless said otherwise
    ├── BadInput                  the user can mend it; CLI exit 2, HTTP 422
    │   ├── UnreadableFile        empty, header only, binary, undecodable, no SKU column
    │   ├── InvalidMapping        unknown field, two columns in one single-valued field, no SKU
    │   ├── InvalidSchema         unknown type, bad or duplicate field name
    │   ├── InvalidRequest        any other argument that cannot be right
    │   ├── AddressRefused        a URL that the platform must not call (private, no https ...)
    │   └── RemoteRefused         somebody else's server said no, or sent what cannot be taken
    ├── NotFound                  tenant, job, product, source unknown *to this caller*; exit 2, HTTP 404
    ├── Conflict                  the state does not allow it (confirm twice ...); exit 2, HTTP 409
    ├── PreconditionFailed        If-Match or If-None-Match does not hold (another wrote meanwhile); HTTP 412
    ├── Unauthorized              no or unknown credential; HTTP 401
    ├── Forbidden                 the role does not allow it; HTTP 403
    │   └── QuotaExceeded         the tenant has as many rows, bytes or running jobs as it may have; exit 2
    ├── Misconfigured             settings, versions, ports, roles; exit 2, HTTP 503
    ├── JobCancelled              the person asked for it; exit 1
    ├── LeaseLost                 a later attempt has taken the job over; this one stops; exit 1
    ├── LedgerUnbalanced          rows were lost or counted twice: the run fails; exit 1, HTTP 500
    ├── EnginesDisagree           PostgreSQL and ClickHouse hold different rows; exit 1, HTTP 500
    ├── ApiProblem                the API of another installation refused; code, fix and status are its own
    └── TransientError            trying again may help; HTTP 503
        ├── EngineUnavailable     a server does not answer
        ├── ApiUnreachable        the API of another installation does not answer
        ├── RemoteUnavailable     somebody else's server does not answer, or not in time; HTTP 502
        ├── TooManyRequests       more than may be asked for in this time; HTTP 429 with Retry-After
        ├── RequestInProgress     the same request under its Idempotency-Key is not answered yet; HTTP 409
        └── TenantBusy            another writer holds the tenant's lock; HTTP 409 with Retry-After
"""

from __future__ import annotations

from typing import Any


class PimError(Exception):
    """Base of the tree.

    ``message`` says what is wrong and where, ``fix`` what to do about it; ``place`` holds the same
    facts for machines (any of ``file, row, column, value, expected``). ``code`` is stable.
    """

    code = "error"
    transient = False
    exit_code = 1
    http_status = 500

    def __init__(self, message: str, *, fix: str = "", code: str | None = None, **place: Any) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.place = {key: value for key, value in place.items() if value is not None}
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.message} {self.fix}".strip()


class BadInput(PimError):
    """What the user gave cannot be used; the message names the place and the fix."""

    code = "bad_input"
    exit_code = 2
    http_status = 422


class UnreadableFile(BadInput):
    """The file as a whole cannot become product rows."""

    code = "unreadable_file"


class InvalidMapping(BadInput):
    """The confirmed mapping cannot be applied."""

    code = "invalid_mapping"


class InvalidSchema(BadInput):
    """The product schema is not a valid field vocabulary."""

    code = "invalid_schema"


class InvalidRequest(BadInput):
    """An argument is out of its range or of the wrong kind."""

    code = "invalid_request"


class AddressRefused(BadInput):
    """A URL that the platform must not call for its users."""

    code = "address_refused"


class RemoteRefused(BadInput):
    """Somebody else's server answered that it will not, or with more than may be taken."""

    code = "remote_refused"


class NotFound(PimError):
    """There is no such thing for this caller; another tenant's thing looks exactly the same."""

    code = "not_found"
    exit_code = 2
    http_status = 404


class Conflict(PimError):
    """The present state does not allow the request."""

    code = "conflict"
    exit_code = 2
    http_status = 409


class PreconditionFailed(PimError):
    """What the caller said of the present state is not so: somebody wrote meanwhile."""

    code = "changed_meanwhile"
    exit_code = 2
    http_status = 412


class Unauthorized(PimError):
    """No credential, or one that is unknown, expired or revoked."""

    code = "unauthorized"
    exit_code = 2
    http_status = 401


class Forbidden(PimError):
    """The caller's role does not include this."""

    code = "forbidden"
    exit_code = 2
    http_status = 403


class QuotaExceeded(Forbidden):
    """The tenant has, or would have, more of something than its operator allows."""

    code = "quota_exceeded"


class Misconfigured(PimError):
    """Settings, server versions, ports or roles do not allow a start."""

    code = "misconfigured"
    exit_code = 2
    http_status = 503


class JobCancelled(PimError):
    """The job was cancelled while it ran."""

    code = "cancelled"


class LeaseLost(PimError):
    """A later attempt has taken the job over; what this one has not committed is gone."""

    code = "lease_lost"


class LedgerUnbalanced(PimError):
    """read != created + updated + unchanged + rejected + superseded + merged (design D4)."""

    code = "ledger_unbalanced"


class EnginesDisagree(PimError):
    """The row checksums of PostgreSQL and ClickHouse differ after publishing (design D10)."""

    code = "engines_disagree"


class ApiProblem(PimError):
    """What the API of another installation answered instead of doing it (RFC 9457).

    ``http_status``, ``code``, ``message`` and ``fix`` are its own; ``problem`` is the whole of what it said,
    ``retry_after`` the seconds it asks to wait, ``request_id`` what its logs know the request by.
    """

    code = "http_error"

    def __init__(
        self,
        message: str,
        *,
        fix: str,
        code: str,
        status: int,
        retry_after: float | None = None,
        problem: dict[str, Any] | None = None,
        request_id: str | None = None,
    ) -> None:
        self.problem = problem or {}
        place = {name: self.problem.get(name) for name in ("file", "row", "column", "value", "expected")}
        super().__init__(message, fix=fix, code=code, **place)
        self.http_status = status
        self.exit_code = 2 if status < 500 else 1
        self.retry_after = retry_after
        self.request_id = request_id


class TransientError(PimError):
    """Nothing is wrong with the request; the same call may succeed later: in ``retry_after`` seconds, where known."""

    code = "transient"
    transient = True
    http_status = 503
    retry_after: float | None = None


class EngineUnavailable(TransientError):
    """A server did not answer."""

    code = "engine_unavailable"


class RemoteUnavailable(TransientError):
    """Somebody else's server did not answer, or not in time; ``retry_after``: the seconds it asks to wait."""

    code = "remote_unavailable"
    http_status = 502

    def __init__(self, message: str, *, retry_after: float | None = None, fix: str = "", **place: Any) -> None:
        super().__init__(message, fix=fix, **place)
        self.retry_after = retry_after


class TooManyRequests(TransientError):
    """More than this caller may ask for in this time; ``retry_after`` is in seconds."""

    code = "too_many_requests"
    http_status = 429

    def __init__(self, message: str, *, retry_after: float, fix: str = "", code: str | None = None) -> None:
        super().__init__(message, fix=fix, code=code)
        self.retry_after = retry_after


class RequestInProgress(TransientError):
    """The first request under this Idempotency-Key has not been answered yet."""

    code = "idempotency_in_progress"
    http_status = 409


class TenantBusy(TransientError):
    """Another writer holds the tenant's catalogue lock (design D7)."""

    code = "tenant_busy"
    http_status = 409


class ApiUnreachable(TransientError):
    """The API of another installation does not answer."""

    code = "api_unreachable"
