"""Clients of the API, in a process of their own: ``python -m benchmarks.serving.load``, a plan as JSON on stdin.

The client is as small as it can be, because it runs on the cores of what it measures: HTTP/1.1 over kept connections,
one task per user. Prints one JSON object per phase: requests, failures, seconds, and milliseconds of each kind.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote


@dataclass
class Tally:
    """What one phase saw."""

    milliseconds: dict[str, list[float]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def note(self, kind: str, started: float, status: int, body: bytes) -> None:
        """Count one answer."""
        self.milliseconds.setdefault(kind, []).append((time.perf_counter() - started) * 1000)
        if status != 200:
            self.failures.append(f"{kind} {status} {body[:300].decode(errors='replace')}")


class Client:
    """One kept connection."""

    def __init__(self, host: str, port: int, key: str) -> None:
        self._address = (host, port)
        self._head = f" HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n"
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> tuple[int, bytes]:
        """Status and body; 0 where the connection breaks."""
        return await self.send(f"GET {path}{self._head}\r\n".encode())

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """The same of a JSON body."""
        head = f"POST {path}{self._head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return await self.send(head.encode() + body)

    async def send(self, message: bytes) -> tuple[int, bytes]:
        """One request and its answer."""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection(*self._address)
            reader, writer = self._streams
            writer.write(message)
            head = await reader.readuntil(b"\r\n\r\n")
            lower = head.lower()
            if b"\r\nconnection: close" in lower:
                self._streams = None
            at = lower.index(b"content-length:") + 15
            length = int(lower[at : lower.index(b"\r\n", at)])
            return int(head[9:12]), await reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            self._streams = None
            return 0, repr(error).encode()


class Questions:
    """What users ask: seeded, so that every run asks the same."""

    def __init__(self, plan: dict[str, Any], seed: int) -> None:
        self._random = random.Random(seed)
        self._cursors: list[str] = plan["cursors"]
        self._ids: list[str] = plan["ids"]
        self._skus: list[str] = plan["skus"]
        self._words: dict[str, list[str]] = plan["words"]

    def of(self, kind: str) -> tuple[str, str]:
        """Which figure the next question of this mix belongs to, and its path."""
        base = "/api/pim/products/"
        pick = self._random
        if kind == "page" or (kind == "list" and pick.random() < 0.7):
            return "page", f"{base}?limit=50&cursor={pick.choice(self._cursors)}"
        if kind == "list":
            return "detail", f"{base}{pick.choice(self._ids)}/"
        words, draw = self._words, pick.random()
        brand, noun = pick.choice(words["brands"]), pick.choice(words["nouns"])
        low = pick.randrange(0, 400)
        if draw < 0.2:
            return "words", f"{base}?q={quote(pick.choice(words['adjectives'] + [brand]) + ' ' + noun)}"
        if draw < 0.25:
            at = pick.randrange(1, len(noun))
            return "typo", f"{base}?q={quote(brand + ' ' + noun[:at] + noun[at + 1 :])}"
        if draw < 0.35:
            return "sku", f"{base}?q={quote(pick.choice(self._skus))}"
        if draw < 0.55:
            return "filter", f"{base}?filter[brand]={quote(brand)}&filter[price][gte]={low}"
        if draw < 0.75:
            return "sorted", f"{base}?filter[colour][in]=red,blue&filter[weight][lt]={low / 40}&sort=-price"
        if draw < 0.9:
            return "facets", f"{base}facets/?facets=colour,in_stock,price&filter[brand]={quote(brand)}"
        return "all facets", f"{base}facets/?facets=category,colour,price"


async def user(plan: dict[str, Any], phase: dict[str, Any], seed: int, until: float, tally: Tally) -> None:
    """One user: asks, thinks, asks again."""
    client = Client(plan["host"], plan["port"], plan["key"])
    questions = Questions(plan, seed)
    think = phase["think"]
    if think:
        await asyncio.sleep(questions._random.random() * think)
    while time.perf_counter() < until:
        kind = phase["kind"]
        if kind == "mixed":
            kind = questions._random.choice(["list", "search"])
        name, path = questions.of(kind)
        started = time.perf_counter()
        status, body = await client.get(path)
        tally.note(name, started, status, body)
        if think:
            await asyncio.sleep(think)


async def run(plan: dict[str, Any]) -> None:
    """Every phase in turn."""
    for number, phase in enumerate(plan["phases"]):
        for counted in (False, True):  # first a moment in which connections and caches are made
            tally = Tally()
            seconds = phase["seconds"] if counted else min(2.0, phase["seconds"] / 5)
            began = time.perf_counter()
            users = (
                user(plan, phase, 1000 * number + one + (500 if counted else 0), began + seconds, tally)
                for one in range(phase["users"])
            )
            await asyncio.gather(*users)
            took = time.perf_counter() - began
        every = [value for values in tally.milliseconds.values() for value in values]
        print(
            json.dumps(
                {
                    "name": phase["name"],
                    "requests": len(every),
                    "failed": len(tally.failures),
                    "failures": tally.failures[:5],
                    "seconds": round(took, 2),
                    "per_second": round(len(every) / took, 1),
                    "p50_ms": percentile(every, 50),
                    "p95_ms": percentile(every, 95),
                    "max_ms": percentile(every, 100),
                    "kinds": {
                        name: {
                            "requests": len(values),
                            "p50_ms": percentile(values, 50),
                            "p95_ms": percentile(values, 95),
                        }
                        for name, values in sorted(tally.milliseconds.items())
                    },
                }
            ),
            flush=True,
        )


def percentile(values: list[float], share: int) -> float | None:
    """The value below which ``share`` percent lie; None of none."""
    if not values:
        return None
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, len(ordered) * share // 100)], 2)


def main() -> None:
    """Read the plan, load, print."""
    plan = json.load(sys.stdin)
    try:
        import uvloop
    except ImportError:
        asyncio.run(run(plan))
    else:
        uvloop.run(run(plan))


if __name__ == "__main__":
    main()
