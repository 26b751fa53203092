"""SQL models for analysts: one file, one table, one Dagster asset.

What belongs here: ``clickhouse/*.sql`` and ``postgres/*.sql``, each a SELECT under a header that
:mod:`dbt_like_sql.loader` describes, and that loader. What does not: anything that talks to a server
(``assets/models.py`` does) and anything the platform itself reads. The tables live in the database
``models`` of ClickHouse and the schema ``models`` of PostgreSQL; nobody else writes there.
"""
