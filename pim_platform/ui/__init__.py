"""The web UI (NiceGUI): one module per page, no logic in any.

Belongs here: laying out what the domains know. Does not belong here: rules about products or files, and SQL.
Owns no tables.
"""
