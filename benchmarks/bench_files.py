"""How fast the other benchmarks get their input."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from benchmarks.files import write_three_columns, write_twelve_columns


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for shape, write in (("three", write_three_columns), ("twelve", write_twelve_columns)):
            start = time.perf_counter()
            written = write(Path(folder, shape))
            seconds = time.perf_counter() - start
            figure = {
                "what": f"write {shape} columns",
                "rows": written.rows,
                "seconds": round(seconds, 2),
                "per_second": round(written.rows / seconds),
                "note": f"{written.bytes / 1e6:.0f} MB",
            }
            print(json.dumps(figure))


if __name__ == "__main__":
    main()
