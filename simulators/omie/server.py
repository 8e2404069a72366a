"""The HTTP shell around the core: latency, dropped connections, webhooks out and the control plane.

One process, one event loop: the core is called without an await, so requests are seen one by one. Control plane
(never part of Omie's API; the billing code does not know it):

    GET  /_sim/health                     {"ok": true}
    GET  /_sim/book[?billings=0]          what was billed, called, refused
    GET  /_sim/contracts                  {company: {nCodCtr: its code, situation, centavos a month, last alteration}}
    GET  /_sim/switches, POST             all switches; POST changes some
    POST /_sim/faults                     list of rules, {"faults": [...]} or {"spec": "lost_reply:share=0.03"}
    POST /_sim/clock                      {"offset_seconds": n} or {"now": epoch seconds or ISO text}
    POST /_sim/reset                      the world as it was at the start, an empty book
    POST /_sim/bill                       {"nCodCtr": n, "company": "acme"?}: a person clicks Faturar
    POST /_sim/titles                     [{"nCodCtr": n, "due": ISO day, "amount"?: centavos}]: billed before today
    POST /_sim/account                    {"company": "acme", "per_multa": 2, "per_juros": 1}: what its boletos charge
    POST /_sim/webhooks                   list of {"url", "company"?, "topics"?}: send there, and nowhere else
    POST /_sim/ping                       the portal's webhook test
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final

import httpx
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from simulators.omie.answers import OmieFault
from simulators.omie.dates import SAO_PAULO, iso
from simulators.omie.faults import FaultError, read_faults
from simulators.omie.receivables import earlier_title
from simulators.omie.switches import SwitchError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.requests import Request

    from simulators.omie.core import OmieCore
    from simulators.omie.webhooks import Message

WEBHOOK_PAUSE: Final = 0.1
"""Seconds between looks at the outbox."""
DROP: Final = "simulator.drop_connection"


class DroppableProtocol(H11Protocol):
    """Gives the application the means to break its connection without a reply (uvicorn has none)."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        app = self.app

        async def with_transport(scope: Any, receive: Any, send: Any) -> None:
            scope[DROP] = transport.abort
            await app(scope, receive, send)

        self.app = with_transport


class Clock:
    """Wall time shifted by an offset; monotonic, so that calls in flight end before the next begins."""

    def __init__(self, start: float | None = None) -> None:
        self._zero = time.monotonic()
        self._start = time.time() if start is None else start

    def now(self) -> float:
        return self._start + time.monotonic() - self._zero

    def set(self, now: float) -> None:
        self._start += now - self.now()

    def move(self, seconds: float) -> None:
        self._start += seconds


class Server:
    """A core, the way to make it anew, and the time it is told."""

    def __init__(self, make_core: Callable[[float], OmieCore], clock: Clock) -> None:
        self._make_core = make_core
        self.clock = clock
        self.core = make_core(clock.now())

    def app(self) -> Starlette:
        routes = [
            Route("/_sim/health", self._health),
            Route("/_sim/book", self._book),
            Route("/_sim/contracts", self._contracts),
            Route("/_sim/switches", self._switches, methods=["GET", "POST"]),
            Route("/_sim/faults", _controlled(self._faults), methods=["POST"]),
            Route("/_sim/clock", _controlled(self._clock), methods=["POST"]),
            Route("/_sim/reset", _controlled(self._reset), methods=["POST"]),
            Route("/_sim/bill", _controlled(self._bill), methods=["POST"]),
            Route("/_sim/titles", _controlled(self._titles), methods=["POST"]),
            Route("/_sim/account", _controlled(self._account), methods=["POST"]),
            Route("/_sim/webhooks", _controlled(self._webhooks), methods=["POST"]),
            Route("/_sim/ping", _controlled(self._ping), methods=["POST"]),
            Route("/{path:path}", self._api, methods=["POST"]),
        ]
        return Starlette(routes=routes, lifespan=self._lifespan)

    # ------------------------------------------------------------------------------------------------- api

    async def _api(self, request: Request) -> Response:
        body = await request.body()
        ip = request.client.host if request.client else "127.0.0.1"
        answer = self.core.handle(request.url.path, body, now=self.clock.now(), ip=ip)
        if answer.delay:
            await asyncio.sleep(answer.delay)
        if answer.lost:
            request.scope[DROP]()
            await asyncio.sleep(0)
            return Response()
        dated = {**answer.headers, "Date": self.core.date_header(self.clock.now())}
        return Response(answer.body, answer.status, dated)

    # ---------------------------------------------------------------------------------------- control plane

    async def _health(self, request: Request) -> Response:
        del request
        contracts = {name: len(app.contracts) for name, app in self.core.apps.items()}
        return JSONResponse({"ok": True, "now": iso(self.clock.now()), "contracts": contracts})

    async def _book(self, request: Request) -> Response:
        self.core.advance(self.clock.now())
        return JSONResponse(self.core.read_book(billings=request.query_params.get("billings") != "0"))

    async def _contracts(self, request: Request) -> Response:
        """Every contract as it stands, without a call of Omie's that would count against its limits."""
        del request
        return JSONResponse(
            {
                name: {
                    number: {
                        "cCodIntCtr": one.cCodIntCtr.strip(),
                        "cCodSit": one.cCodSit,
                        "amount": one.total,
                        "altered": iso(one.altered),
                    }
                    for number, one in app.contracts.items()
                }
                for name, app in self.core.apps.items()
            }
        )

    async def _switches(self, request: Request) -> Response:
        if request.method == "POST":
            try:
                self.core.switches.update(await request.json())
            except SwitchError as error:
                return JSONResponse({"error": str(error)}, 400)
        return JSONResponse(self.core.switches.to_dict())

    def _faults(self, request: Any) -> dict[str, Any]:
        rules = read_faults(request.get("spec", request) if isinstance(request, dict) else request)
        self.core.faults.replace(rules)
        return {"faults": len(rules)}

    def _clock(self, request: Any) -> dict[str, Any]:
        if "now" in request:
            self.clock.set(_instant(request["now"]))
        else:
            self.clock.move(float(request["offset_seconds"]))
        self.core.advance(self.clock.now())
        return {"now": iso(self.clock.now())}

    def _reset(self, request: Any) -> dict[str, Any]:
        del request
        endpoints = self.core.outbox.endpoints
        self.core = self._make_core(self.clock.now())
        self.core.outbox.subscribe_anew(endpoints)
        return {"ok": True}

    def _webhooks(self, request: Any) -> dict[str, Any]:
        self.core.outbox.subscribe_anew(
            (str(one["url"]), str(one.get("company", "")), frozenset(one.get("topics", ()))) for one in request
        )
        return {"endpoints": len(self.core.outbox.endpoints)}

    def _bill(self, request: Any) -> dict[str, Any]:
        number = int(request["nCodCtr"])
        company = request.get("company") or self._owner(number)
        return {"nCodOS": self.core.bill_by_person(company, number, now=self.clock.now())}

    def _titles(self, request: Any) -> dict[str, Any]:
        """All of them or, when one cannot be, none."""
        wished = []
        for one in request:
            app = self.core.apps[self._owner(int(one["nCodCtr"]))]
            contract = app.contracts[int(one["nCodCtr"])]
            amount = int(one.get("amount", contract.total))
            if amount <= 0:
                raise ValueError(f"{amount} centavos: a title is of more than nothing")
            wished.append((app, contract, date.fromisoformat(one["due"]), amount))
        now = self.clock.now()
        made = [earlier_title(app, contract, now, due=due, amount=amount) for app, contract, due, amount in wished]
        return {"nCodTitulo": [title.nCodTitulo for title in made]}

    def _account(self, request: Any) -> dict[str, Any]:
        """On every account of the company."""
        percents = {name: float(request[name]) for name in ("per_multa", "per_juros")}
        for account in self.core.apps[request["company"]].accounts.values():
            account.update(percents)
        return percents

    def _owner(self, nCodCtr: int) -> str:
        """The company whose contract it is; "" when nobody's."""
        return next((name for name, app in self.core.apps.items() if nCodCtr in app.contracts), "")

    def _ping(self, request: Any) -> dict[str, Any]:
        del request
        self.core.outbox.ping(self.clock.now())
        return self.core.outbox.pending()

    # ------------------------------------------------------------------------------------------ webhooks out

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        del app
        async with httpx.AsyncClient() as http:
            task = asyncio.create_task(self._deliver(http))
            yield
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _deliver(self, http: httpx.AsyncClient) -> None:
        """POST what is due; groups go side by side, each group one message at a time."""
        sending: set[asyncio.Task[None]] = set()
        while True:
            core, now = self.core, self.clock.now()
            core.advance(now)
            for message in core.outbox.due(now):
                task = asyncio.create_task(self._post(http, core, message))
                sending.add(task)
                task.add_done_callback(sending.discard)
            await asyncio.sleep(WEBHOOK_PAUSE)

    async def _post(self, http: httpx.AsyncClient, core: OmieCore, message: Message) -> None:
        try:
            reply = await http.post(
                message.url,
                content=message.body,
                headers={"content-type": "application/json"},
                timeout=message.timeout,
            )
            ok = reply.is_success
        except httpx.HTTPError:
            ok = False
        core.outbox.report(message, self.clock.now(), ok=ok)


def _controlled(act: Callable[[Any], dict[str, Any]]) -> Callable[[Request], Awaitable[Response]]:
    """A control-plane action as an endpoint; what is wrong with the request is answered 400."""

    async def endpoint(request: Request) -> Response:
        body = await request.body()
        try:
            return JSONResponse(act(await request.json() if body else {}))
        except (KeyError, TypeError, ValueError, FaultError, OmieFault) as error:
            return JSONResponse({"error": f"{type(error).__name__}: {error}"}, 400)

    return endpoint


def _instant(value: object) -> float:
    if isinstance(value, int | float):
        return float(value)
    moment = datetime.fromisoformat(str(value))
    return (moment if moment.tzinfo else moment.replace(tzinfo=SAO_PAULO)).timestamp()
