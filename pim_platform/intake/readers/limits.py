"""What reading one file may cost, as the installation's settings say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What one file may cost at most."""

    seconds: float = 600.0
    memory_bytes: int = 2 * 1024**3
    records: int = 20_000_000
    columns: int = 5_000
    unpacked_bytes: int = 16 * 1024**3
    unpacked_ratio: int = 200


def limits_of_settings() -> Limits:
    """The limits of this installation."""
    from pim_platform.settings import get_settings  # takes its time to load, and the child is told its limits

    settings = get_settings()
    return Limits(
        seconds=settings.reader_seconds,
        memory_bytes=settings.reader_memory_bytes,
        records=settings.reader_max_records,
        columns=settings.reader_max_columns,
        unpacked_bytes=settings.reader_max_unpacked_bytes,
        unpacked_ratio=settings.reader_max_ratio,
    )
