"""`python -m simulators.omie`: one Omie on this machine, filled with a world of contracts."""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from simulators.omie.core import OmieCore, apps_of
from simulators.omie.dates import SAO_PAULO, day_of
from simulators.omie.faults import FaultError, read_faults
from simulators.omie.profiles import PROFILES
from simulators.omie.server import Clock, DroppableProtocol, Server
from simulators.omie.switches import SwitchError, Switches, read_switches
from simulators.world import make_world

if TYPE_CHECKING:
    from simulators.omie.faults import Fault


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    try:
        profile = PROFILES[options.profile]
        changes = {
            **profile.switches,
            **_switches(options.switches),
            **dict(pair.partition("=")[::2] for pair in options.switch),
        }
        Switches().update(changes)
        rules = _faults(options.faults or profile.faults)
    except (SwitchError, FaultError, json.JSONDecodeError, OSError, UnicodeDecodeError) as error:
        sys.exit(f"omie simulator: {error}")

    def make_core(now: float) -> OmieCore:
        switches = Switches()
        switches.update(changes)
        world = make_world(options.contracts, options.seed, options.today or day_of(now))
        core = OmieCore(
            apps_of(world, now=now - timedelta(days=1).total_seconds()),
            switches=switches,
            faults=rules,
            seed=options.seed,
            latency_ms=profile.latency_ms if options.latency_ms is None else options.latency_ms,
        )
        for url in options.webhook_url:
            core.outbox.subscribe(url)
        return core

    start = options.now.timestamp() if options.now else None
    asyncio.run(serve(Server(make_core, Clock(start)), options.host, options.port))


class AnnouncedServer(uvicorn.Server):
    """Says where it listens, once, when it is ready (port 0 is known only then)."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            print(f"omie simulator: http://{host}:{port}", flush=True)


async def serve(server: Server, host: str, port: int) -> None:
    """Serve until stopped."""
    config = uvicorn.Config(
        server.app(),
        http=DroppableProtocol,
        log_level="warning",
        access_log=False,
        date_header=False,  # the simulator's clock is not this machine's
        timeout_graceful_shutdown=1,
    )
    await AnnouncedServer(config).serve(sockets=[socket.create_server((host, port))])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simulators.omie", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8801, help="0 picks a free one")
    parser.add_argument("--contracts", type=int, default=500, help="active billable contracts of the world")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--profile", choices=PROFILES, default="demo", help="latency, faults and switches together")
    parser.add_argument("--latency-ms", type=float, help="mean time of a call, instead of the profile's")
    parser.add_argument("--webhook-url", action="append", default=[], help="send webhooks there (repeatable)")
    parser.add_argument(
        "--faults", default="", help="file, preset, JSON, or lost_reply:share=0.03;...; else the profile's"
    )
    parser.add_argument("--switch", action="append", default=[], metavar="NAME=VALUE", help="repeatable")
    parser.add_argument("--switches", metavar="FILE", help="switches.toml of billing-ops probe; --switch wins over it")
    parser.add_argument("--now", type=_moment, help="São Paulo time to start at, e.g. 2026-12-01T06:00")
    parser.add_argument("--today", type=lambda text: _moment(text).date(), help="day the world is made for (else: now)")
    return parser


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=SAO_PAULO)


def _switches(file: str | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        return read_switches(Path(file).read_text(encoding="utf-8"))
    except SwitchError as error:
        raise SwitchError(f"{file}: {error}") from None


def _faults(source: str) -> list[Fault]:
    if not source:
        return []
    path = Path(source)
    return read_faults(path.read_text(encoding="utf-8") if path.is_file() else source)


if __name__ == "__main__":
    main()
