"""Who may do what: tenants, users, memberships, API keys and the audit trail.

Belongs here: identity, roles, credentials. Does not: anything about products or files.
Owns ``tenants, users, memberships, api_keys, refresh_tokens, audit_logs``.
"""
