"""Processor time by who spent it: on a machine with other work it says more than the clock on the wall."""

from __future__ import annotations

from contextlib import suppress

import psutil

from pim_platform.local.home import Home

#: Seconds of processor time of our process, of PostgreSQL's and of ClickHouse's.
Spent = dict[str, float]


class Processors:
    """Reads how much processor time the three have spent; engines that are not embedded count nothing."""

    def __init__(self, home: Home) -> None:
        self._roots = {"ours": psutil.Process()}
        for name in ("postgres", "clickhouse"):
            if (state := home.recall(name)) is not None:
                self._roots[name] = psutil.Process(state.pid)

    def spent(self) -> Spent:
        """Seconds since each began. PostgreSQL's are those of all its processes, also of those that ended."""
        found: Spent = {}
        for name, root in self._roots.items():
            with suppress(psutil.Error):
                times = root.cpu_times()
                found[name] = times.user + times.system
                if name == "postgres":
                    found[name] += times.children_user + times.children_system + _of_children(root)
        return found


def _of_children(root: psutil.Process) -> float:
    total = 0.0
    for child in root.children():
        with suppress(psutil.Error):
            times = child.cpu_times()
            total += times.user + times.system
    return total


def between(before: Spent, after: Spent) -> Spent:
    """What was spent from one reading to the next."""
    return {name: round(seconds - before.get(name, 0.0), 2) for name, seconds in after.items()}
