"""The one-machine stack: embedded PostgreSQL and ClickHouse, and the supervisor of every process.

Belongs here: starting, watching and ending processes of one home. Does not belong here: anything that a real
deployment needs too (that is :mod:`pim_platform.storage`), and no product logic. Owns no table.
"""
