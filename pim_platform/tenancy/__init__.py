"""Who may do what: tenants, users, memberships, API keys, the audit trail and what a tenant may spend.

Belongs here: identity, roles, credentials, budgets. Does not: anything about products or files.
Owns ``tenants, users, memberships, invitations, api_keys, login_sessions, refresh_tokens, password_links,
login_throttles, audit_logs, api_usage_log``.
"""
