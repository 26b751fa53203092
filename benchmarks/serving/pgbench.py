"""How many of the API's list pages PostgreSQL itself selects per second: pgbench with the same page."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path
from uuid import UUID

from pim_platform.local.postgres import binaries

#: The page as rows: what a program beside the database would ask for. Keys are those of the benchmark's file, whose
#: beginning depends on the row; any text is a place in the order of keys.
_PAGE = """
\\set first random(0, 675)
\\set number random(1, {rows})
SELECT id, sku, name, active, kind, parent_id, variant_group, data, source, ai_readability_score, version, created_at,
       updated_at
FROM pim.products
WHERE tenant_id = '{tenant}' AND sku_key > chr(97 + :first / 26) || chr(97 + :first % 26) || '-' || :number
ORDER BY sku_key LIMIT 51;
"""


def pages_per_second(url: str, tenant_id: UUID, rows: int, *, clients: int, seconds: int) -> float:
    """Pages per second of the application's role, bound to the tenant, with prepared statements."""
    with tempfile.TemporaryDirectory(prefix="pim-pgbench-") as name:
        script = Path(name) / "page.sql"
        script.write_text(_PAGE.format(tenant=tenant_id, rows=rows))
        done = subprocess.run(
            [
                str(binaries() / "pgbench"), "--no-vacuum", "--protocol=prepared", f"--client={clients}",
                f"--jobs={min(clients, 2)}", f"--time={seconds}", f"--file={script}", url,
            ],
            env={**os.environ, "PGOPTIONS": f"-c app.current_tenant_id={tenant_id}"},
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
    found = re.search(r"tps = ([0-9.]+)", done.stdout)
    if done.returncode or not found:
        raise RuntimeError(f"pgbench failed: {done.stderr[-500:]}")
    return float(found[1])
