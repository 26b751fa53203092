"""Syndication: what leaves the platform by itself. Today webhooks.

Belongs here: who is told (subscriptions), the outbox and its log, signing, delivery. Does not: what changed
(``catalog``, ``intake``), HTTP (``storage/outbound.py``), when a run begins (``sensors``).
Owns ``webhooks, webhook_deliveries``. Nothing in Python writes the outbox: two deferred triggers of migration 0013 do,
at the end of the very transaction that changes products or jobs, so that no writer can forget it and the catalogue
need not know of it.
"""
