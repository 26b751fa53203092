"""``python -m tests.support.die_at STAGE pim-arguments...``: the CLI, killed by SIGKILL when it reaches a stage.

The stages are those that an attempt tells its lease: ``staging``, ``writing`` (inside the merge's
transaction), ``publishing`` (between the merge's commit and ClickHouse). Only the test's process is changed.
"""

from __future__ import annotations

import os
import signal
import sys

from pim_platform.cli import main
from pim_platform.intake.lease import Lease


def _arm(stage: str) -> None:
    tell = Lease.tell

    def tell_or_die(self: Lease, name: str, done: int, total: int | None = None) -> None:
        tell(self, name, done, total)
        if name == stage and (done > 0 or stage == "publishing"):
            os.kill(os.getpid(), signal.SIGKILL)

    Lease.tell = tell_or_die  # type: ignore[method-assign]


if __name__ == "__main__":
    _arm(sys.argv.pop(1))
    main()
