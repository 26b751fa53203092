"""Images of deleted products as columns of the change log."""

from __future__ import annotations

from pathlib import Path

from pim_platform.storage.migrations.postgres.statements import run_file

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the statements of the file beside this one."""
    run_file(Path(__file__).with_suffix(".sql"))
