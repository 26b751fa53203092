"""When a delivery is tried again, and when a receiver is left in peace: pure decisions.

Two things are told apart. A *delivery* that a receiver does not take is tried along the schedule and holds up only
what comes after it of the same product. A *receiver* that takes nothing at all is paused as a whole along the same
schedule, with one delivery at a time as the probe, so that its other deliveries do not wear out; after the last pause
it is suspended, and they wait for a person.
"""

from __future__ import annotations

import random

from pim_platform.storage.patience import asked_to_wait

#: Seconds before the second, third ... attempt: the example of Standard Webhooks' specification ("Deliverability and
#: reliability"), ten attempts in three days.
SCHEDULE = (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
ATTEMPTS = len(SCHEDULE) + 1

#: Failed calls in a row after which not the delivery but the receiver counts as broken.
BROKEN_AFTER = 5

_JITTER = 0.2  # up to a fifth later, so that deliveries that failed together do not come back together
_LONGEST_WISH = 3600.0  # seconds of a Retry-After that are granted


def delay_after(failed: int) -> float:
    """Seconds to wait after the ``failed``-th failure in a row (1 is the first), with jitter."""
    base = SCHEDULE[min(failed, len(SCHEDULE)) - 1]
    return base * (1 + random.random() * _JITTER)  # noqa: S311  # spreads load, hides nothing


def wished_delay(retry_after: str | None) -> float | None:
    """Seconds that a ``Retry-After`` header asks for (RFC 9110: a number or a date), at most an hour; None without."""
    return asked_to_wait(retry_after, longest=_LONGEST_WISH)


def is_taken(status: int) -> bool:
    """Whether an answer means that the event was taken; a redirect is none, it is not followed."""
    return 200 <= status < 300
