"""python -m simulators.jestor: the simulated Jestor org on a local port."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from simulators.jestor.core import JestorCore, Refused, Switches
from simulators.jestor.faults import BadFault
from simulators.jestor.server import bound, serve
from simulators.jestor.triggers import builder_defined
from simulators.world import make_world


def _faults(text: str) -> list[Any]:
    """JSON (one fault or a list), or the path of a file that holds it."""
    is_json = text.lstrip().startswith(("[", "{"))
    try:
        specs = json.loads(text if is_json else Path(text).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return specs if isinstance(specs, list) else [specs]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m simulators.jestor", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8802, help="0 takes a free port")
    parser.add_argument("--contracts", type=int, default=500, help="billable ones; the dirt comes on top")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--today", type=date.fromisoformat, help="the day the world is drawn for (today)")
    parser.add_argument("--clean", action="store_true", help="a world without dirt")
    parser.add_argument("--latency-ms", type=float, default=0)
    parser.add_argument("--page-cap", type=int, default=500)
    parser.add_argument("--trigger-url", help="where the after-create and after-update triggers post")
    parser.add_argument("--churn-url", default="", help="where the trigger of the Churn stage posts")
    parser.add_argument("--trigger-secret", default="demo-jestor-webhook-secret")
    parser.add_argument("--faults", type=_faults, default=[], help="JSON or a file: see faults.py")
    return parser.parse_args()


def main() -> None:
    options = _options()
    today = options.today or datetime.now(UTC).date()
    world = make_world(options.contracts, options.seed, today, clean=options.clean)
    to = options.trigger_url
    triggers = builder_defined(to, options.trigger_secret, churn_url=options.churn_url) if to else ()
    switches = Switches(page_cap=options.page_cap)
    core = JestorCore(world, switches=switches, triggers=triggers, seed=options.seed)
    try:
        core.set_faults(options.faults)
    except (BadFault, Refused) as error:
        sys.exit(f"--faults: {error}")
    sock = bound(options.host, options.port)
    address = f"http://{options.host}:{sock.getsockname()[1]}"
    serve(
        core,
        sock,
        latency=options.latency_ms / 1000,
        ready=lambda: print(f"jestor simulator: {address}", flush=True),
    )


if __name__ == "__main__":
    main()
