"""The sidecar: a thin REST interface over the domains, one router per domain, no logic.

Belongs here: HTTP. Reading requests, asking the domain, answering; problem details, request ids, who may
call what, the shapes of bodies. Does not belong here: any rule about products or files. Owns no tables.
"""
