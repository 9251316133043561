"""Runs Flower's SuperLink with its control to itself: other machines reach sites' calls alone.

SuperLink serves the calls of sites, of its own ServerApp and of those who start runs and register
sites on one port, and asks the latter for no password. Run as `python -m aloft_flower.link`.
"""

import ipaddress
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_OF_SITES = "/v1/fleet/"


class SitesOnly:
    """Refuses calls of other machines that are not those of a site."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a call on, or refuse it with status 403."""
        if scope["type"] == "http" and not is_allowed(scope["path"], scope.get("client")):
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await self._application(scope, receive, send)


def is_allowed(path: str, client: tuple[str, int] | None) -> bool:
    """Whether a client may call a path: a site's calls are open, all others are this machine's."""
    if path.startswith(_OF_SITES):
        return True
    try:
        return client is not None and ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False


def main() -> None:
    """Serve until the process is ended; arguments are those of `flower-superlink`."""
    from flwr.supercore.http_logging import get_uvicorn_log_config
    from flwr.supercore.logger import console_handler
    from flwr.superlink.cli.flower_superlink import (
        SuperLinkLifespan,
        _parse_superlink_lifespan_config,
    )
    from flwr.superlink.main import create_app

    config = _parse_superlink_lifespan_config()
    uvicorn.run(
        SitesOnly(create_app(config, SuperLinkLifespan)),
        host=config.host,
        port=config.port,
        access_log=False,
        log_config=get_uvicorn_log_config(console_handler.level),
        ssl_keyfile=config.ssl_keyfile,
        ssl_certfile=config.ssl_certfile,
        proxy_headers=False,  # a client may not say where it comes from
    )


if __name__ == "__main__":
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    main()
