"""Runs a file of statements inside the migration's transaction."""

from __future__ import annotations

from pathlib import Path

from alembic import op


def run_file(path: Path) -> None:
    """Send the file as it is: through the driver, because SQLAlchemy would read ``%`` as a placeholder."""
    connection = op.get_bind().connection.driver_connection
    assert connection is not None
    connection.execute(path.read_text(encoding="utf-8"))
