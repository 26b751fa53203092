"""The API's process: ``python -m pim_platform.api.main``, with as many workers as ``PIM_API_WORKERS`` says."""

from __future__ import annotations

import os
import shutil

import uvicorn
from fastapi import FastAPI

from pim_platform.api.logs import configure_logs
from pim_platform.local.home import Home
from pim_platform.settings import Settings, get_settings
from pim_platform.storage.endpoints import Endpoints

#: Where the Prometheus client library looks for the folder that several processes share.
SHARED_FIGURES = "PROMETHEUS_MULTIPROC_DIR"


#: Largest message on a WebSocket: clients have nothing to say there.
_WEBSOCKET_BYTES = 64 * 1024


def share_figures(settings: Settings) -> None:
    """Give the workers an empty folder for their counters; one that the environment names already is left alone.

    Has to happen before anything loads the library, which looks only then.
    """
    if settings.api_workers == 1:
        return
    folder = Home(settings.home_path).run / "figures"
    if os.environ.setdefault(SHARED_FIGURES, str(folder)) == str(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)


def serve() -> FastAPI:
    """The application of one worker, which logs as JSON lines."""
    from pim_platform.api.app import create_app  # after `share_figures`

    settings = get_settings()
    configure_logs(settings.log_level)
    return create_app(settings)


def main() -> None:
    """Serve until a signal ends the process."""
    settings = get_settings()
    configure_logs(settings.log_level)
    share_figures(settings)
    uvicorn.run(
        "pim_platform.api.main:serve",
        factory=True,
        host=settings.host,
        port=Endpoints.of(settings).ports.api,
        workers=settings.api_workers,
        log_config=None,
        access_log=False,  # ours has the request id
        server_header=False,
        ws_max_size=_WEBSOCKET_BYTES,
        forwarded_allow_ips=settings.trusted_proxies,
    )


if __name__ == "__main__":
    main()
