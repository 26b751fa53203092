"""The UI's process: ``python -m pim_platform.ui.main``."""

from __future__ import annotations

from fastapi import Request
from nicegui import ui

from pim_platform.settings import Settings, get_settings
from pim_platform.storage.endpoints import Endpoints
from pim_platform.ui import home
from pim_platform.ui.engines import EngineWatch

_TITLE = "PIM Platform"


def register(settings: Settings) -> None:
    """Make the pages known to NiceGUI."""
    ports = Endpoints.of(settings).ports
    watch = EngineWatch(settings)

    @ui.page("/", title=_TITLE, language="en-US")
    def index(request: Request) -> None:
        home.build(request, ports, watch)


def main() -> None:
    """Serve the pages until a signal ends the process."""
    settings = get_settings()
    register(settings)
    ui.run(
        host=settings.host,
        port=Endpoints.of(settings).ports.ui,
        title=_TITLE,
        reload=False,
        show=False,
        show_welcome_message=False,
        fastapi_docs=False,
    )


if __name__ == "__main__":
    main()
