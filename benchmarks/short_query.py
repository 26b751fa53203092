"""A short ClickHouse query alone and beside a long one, in one run: ``python benchmarks/short_query.py``.

Starts the engines of a throwaway home, so nothing else is measured. Prints milliseconds; the aim for ``SELECT 1``
beside a query of about 2 s is 50 ms.
"""

from __future__ import annotations

import random
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path

import clickhouse_connect
from clickhouse_connect.driver.client import Client

from pim_platform.local.engines import engines
from pim_platform.settings import Settings
from pim_platform.storage.endpoints import CLICKHOUSE_USER, LOOPBACK, Endpoints, password_of

_LONG = "SELECT sum(cityHash64(number, toString(number))) FROM numbers({rows})"
_AIM_SECONDS = 2.0
_PROBE_ROWS = 10_000_000


def main() -> None:
    """Measure and print."""
    home = Path(tempfile.mkdtemp(prefix="pim-bench-"))
    settings = Settings(home=home / "home", port=random.randrange(31_000, 32_000, 10))
    try:
        begun = time.perf_counter()
        with engines(settings, migrate=False) as endpoints:
            print(f"engines answer after          {time.perf_counter() - begun:8.2f} s")
            measure(endpoints)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def measure(endpoints: Endpoints) -> None:
    """Print the figures of the ClickHouse at ``endpoints``."""
    short, long = _client(endpoints), _client(endpoints)
    alone = [_milliseconds(short) for _ in range(100)]
    probe = time.perf_counter()
    long.command(_LONG.format(rows=_PROBE_ROWS))
    rows = int(_PROBE_ROWS * _AIM_SECONDS / (time.perf_counter() - probe))
    beside: list[float] = []
    worker = threading.Thread(target=long.command, args=(_LONG.format(rows=rows),))
    started = time.perf_counter()
    worker.start()
    time.sleep(0.2)  # let it begin
    while worker.is_alive():
        beside.append(_milliseconds(short))
        time.sleep(0.05)
    worker.join()
    print(f"long query                    {time.perf_counter() - started:8.2f} s")
    for name, values in (("SELECT 1 alone", alone), ("SELECT 1 beside the long one", beside)):
        print(f"{name:<29} {statistics.median(values):8.1f} ms median, {max(values):.1f} ms worst of {len(values)}")


def _client(endpoints: Endpoints) -> Client:
    return clickhouse_connect.get_client(
        host=LOOPBACK,
        port=endpoints.ports.clickhouse,
        username=CLICKHOUSE_USER,
        password=password_of(endpoints.clickhouse_url),
        autogenerate_session_id=False,
    )


def _milliseconds(client: Client) -> float:
    started = time.perf_counter()
    client.command("SELECT 1")
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    main()
