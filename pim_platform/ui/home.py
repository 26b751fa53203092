"""The home page: what the platform is, where its parts are, whether they answer, and how to begin.

It shows no tenant's data, because nobody has logged in.
"""

from __future__ import annotations

import html

from fastapi import Request
from nicegui import ui

from pim_platform.storage.endpoints import Ports
from pim_platform.ui import places
from pim_platform.ui.engines import FRESH_SECONDS, EngineState, EngineWatch

_STYLE = """
body { color: #1b1f24; background: #fff; }
.pim { max-width: 58rem; margin: 0 auto; padding: 0 1.5rem 3rem; width: 100%; line-height: 1.55; }
.pim h1 { font-size: 2rem; font-weight: 700; line-height: 1.2; margin: 1.5rem 0 .5rem; letter-spacing: 0; }
.pim h2 { font-size: 1.25rem; font-weight: 600; line-height: 1.3; margin: 2rem 0 .5rem; letter-spacing: 0; }
.pim p { margin: 0 0 .75rem; }
.pim ol { margin: 0; padding-left: 1.4rem; list-style: decimal; }
.pim ul { margin: 0; padding-left: 1.4rem; list-style: disc; }
.pim li { margin: .3rem 0; }
.pim a { color: #0b5cad; text-decoration: underline; }
.pim pre { font: .9rem/1.5 ui-monospace, monospace; background: #f0f2f5; border: 1px solid #c9ced6;
           border-radius: .4rem; padding: .6rem 1rem; margin: 0 0 1rem; white-space: pre-wrap; word-break: break-word; }
.pim dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.5rem; margin: 0; min-height: 3.4rem; }
.pim dt { font-weight: 600; }
.pim dd { margin: 0; }
.pim .ok { color: #116329; }
.pim .away { color: #a40e26; font-weight: 600; }
.pim-bar { background: #14324f; color: #fff; padding: .6rem 1.5rem; display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; }
.pim-bar nav { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; }
.pim-bar a { color: #fff; text-decoration: underline; }
.pim-skip { position: absolute; left: -100rem; }
.pim-skip:focus { left: 1rem; background: #14324f; z-index: 9; }
a:focus-visible { outline: 3px solid #d97706; outline-offset: 2px; }
"""

_STEPS = (
    "It lands: by upload, on the command line, or dropped into the inbox.",
    "The platform proposes what each column means.",
    "A person, or a policy, confirms.",
    "Every row is validated; what is wrong is rejected with its row, column, reason and fix.",
    "One transaction merges the rows into PostgreSQL; ClickHouse and the typed tables follow.",
)


def build(request: Request, ports: Ports, watch: EngineWatch) -> None:
    """Lay the page out for one visitor."""
    scheme, host = request.url.scheme, request.url.hostname or "localhost"
    links, commands = places.links(scheme, host, ports), places.commands(scheme, host, ports)
    ui.add_css(_STYLE)
    with ui.header(fixed=False, elevated=False).classes("pim-bar"):
        ui.link("To the content", "#content").classes("pim-skip")
        _tag("strong", "PIM Platform")
        with ui.element("nav").props('aria-label="Places"'):
            for link in links:
                ui.link(link.text, link.url)
    with ui.element("div").classes("pim").props('id="content" tabindex="-1"'):
        _tag("h1", "PIM Platform")
        _tag("p", "Product files of any shape become each tenant's validated catalogue.")
        _tag("h2", "Engines")
        states = ui.element("div").props('role="status"')
        _tag("h2", "What happens to a file")
        with ui.element("ol"):
            for step in _STEPS:
                _tag("li", step)
        _tag("h2", "Places")
        with ui.element("ul"):
            for link in links:
                with ui.element("li"):
                    ui.link(link.text, link.url)
                    _tag("span", f": {link.about}")
        _tag("h2", "Begin")
        for command in commands:
            _tag("p", command.why)
            _tag("pre", command.line)
        _tag("p", "pim status shows every part of the stack; pim doctor says what is wrong with one.")
    _keep_fresh(states, watch)


def _keep_fresh(states: ui.element, watch: EngineWatch) -> None:
    shown: list[EngineState] = []

    async def refresh() -> None:
        found = await watch.states()
        if found == shown:
            return  # a screen reader is told of changes only
        shown[:] = found
        states.clear()
        with states, ui.element("dl"):
            for engine in found:
                _tag("dt", engine.name)
                text = f"does not answer: {engine.problem}" if engine.problem else "answers"
                _tag("dd", text).classes("away" if engine.problem else "ok")

    ui.timer(FRESH_SECONDS, refresh)


def _tag(tag: str, text: str) -> ui.html:
    return ui.html(html.escape(text), sanitize=False, tag=tag)
