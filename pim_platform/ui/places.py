"""Where the parts of this installation are, as the visitor's browser reaches them, and the first commands."""

from __future__ import annotations

from dataclasses import dataclass

from pim_platform.storage.endpoints import Ports


@dataclass(frozen=True)
class Link:
    """A place to go to."""

    text: str
    url: str
    about: str


@dataclass(frozen=True)
class Command:
    """Something to type, and why."""

    why: str
    line: str


def links(scheme: str, host: str, ports: Ports) -> list[Link]:
    """The web pages of the stack, on the host under which the visitor reached this one."""
    name = f"[{host}]" if ":" in host else host
    api, dagster = (f"{scheme}://{name}:{port}" for port in (ports.api, ports.dagster))
    return [
        Link("API reference", f"{api}/docs", "every route, its bodies and its problems"),
        Link("OpenAPI document", f"{api}/openapi.json", "the same for programs"),
        Link("Health", f"{api}/health/ready", "whether both engines answer"),
        Link("Dagster", f"{dagster}/", "runs, assets, checks and the inbox sensor, for operators"),
    ]


def commands(scheme: str, host: str, ports: Ports) -> list[Command]:
    """How to begin."""
    name = f"[{host}]" if ":" in host else host
    api = f"{scheme}://{name}:{ports.api}"
    return [
        Command("Make a key for a tenant; it is shown once.", "pim key create --tenant main --role editor"),
        Command("Import a file: the mapping is shown, then asked for.", "pim import products.csv --tenant main"),
        Command(
            "Or upload it, and confirm the mapping that comes back.",
            f'curl -H "Authorization: Bearer $PIM_KEY" -F file=@products.csv {api}/api/pim/import/csv/',
        ),
        Command(
            "Or drop it into the inbox: the folder names tenant and source.",
            "install -D products.csv .pim/objects/inbox/main/my-supplier/products.csv",
        ),
    ]
