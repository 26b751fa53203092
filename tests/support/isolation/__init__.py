"""A pair of tenants, and a case for every public function of the domains that reaches a tenant's rows.

``pair`` makes the tenants; ``catalog``, ``intake`` and ``tenancy`` hold the cases of the packages of these names.
They are tests in all but name: pytest tells their assertions in full.
"""

import pytest

pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in ("pair", "catalog", "intake", "products", "tenancy")))
