"""``python -m tests.support.die_in_request WHEN``: the API's process, killed by SIGKILL within a request under a key.

``before-commit``: in the transaction that has the effect; ``after-commit``: when it is committed and nothing is
answered yet. Only the test's process is changed.
"""

from __future__ import annotations

import os
import signal
import sys

from sqlalchemy import event, text
from sqlalchemy.orm import Session

from pim_platform.api.main import main
from pim_platform.storage.postgres import commit_guard


def _arm(when: str) -> None:
    def before_commit(session: Session) -> None:
        if commit_guard.get() is None:
            return
        session.info["wrote"] = session.scalar(text("SELECT pg_current_xact_id_if_assigned() IS NOT NULL"))
        if when == "before-commit" and session.info["wrote"]:
            os.kill(os.getpid(), signal.SIGKILL)

    def after_commit(session: Session) -> None:
        if when == "after-commit" and session.info.get("wrote"):
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Session, "before_commit", before_commit)
    event.listen(Session, "after_commit", after_commit)


if __name__ == "__main__":
    _arm(sys.argv.pop(1))
    main()
