"""Engines, sessions, object store and migrations: how the platform reaches its three stores.

Belongs here: connections, the tenant binding, COPY, the migrations of both engines, the object
store. Does not: any table's meaning; that is each domain's ``models.py``. Owns no table but the
two migration logs.
"""
