"""The simulated Jestor over HTTP: a thin shell that adds time, latency and the triggers' calls."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simulators.jestor.core import Answer, JestorCore, Refused
from simulators.jestor.faults import BadFault
from simulators.jestor.triggers import builder_defined

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping

    from starlette.requests import Request

    from simulators.jestor.triggers import Post

_RECEIVER_TIMEOUT = 10.0


class _LostReply(Response):
    """Promises a body and sends none: the connection breaks under the client."""

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        del scope, receive
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4096")]})
        await send({"type": "http.response.body", "body": b'{"sta', "more_body": True})


class JestorServer:
    """The routes over one core. `latency`: seconds added to every answer."""

    def __init__(self, core: JestorCore, *, latency: float = 0.0) -> None:
        self.core = core
        self.latency = latency
        self.offset = 0.0
        self._sending: set[asyncio.Task[None]] = set()
        self._http: httpx.AsyncClient | None = None

    def app(self) -> Starlette:
        control = {
            "/_sim/health": (self.health, "GET"),
            "/_sim/book": (self.book, "GET"),
            "/_sim/faults": (self.faults, "POST"),
            "/_sim/reset": (self.reset, "POST"),
            "/_sim/clock": (self.clock, "POST"),
            "/_sim/edit": (self.edit, "POST"),
            "/_sim/triggers": (self.triggers, "POST"),
        }
        routes = [Route(path, handler, methods=[method]) for path, (handler, method) in control.items()]
        return Starlette(routes=[*routes, Route("/{path:path}", self.call, methods=["POST"])], lifespan=self._life)

    @asynccontextmanager
    async def _life(self, _app: Starlette) -> AsyncIterator[None]:
        async with httpx.AsyncClient(timeout=_RECEIVER_TIMEOUT, trust_env=False) as self._http:
            yield
            for task in self._sending:
                task.cancel()

    def now(self) -> float:
        return time.time() + self.offset

    async def call(self, request: Request) -> Response:
        """Any Jestor call."""
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        answer = self.core.handle(path, request.headers, await request.body(), now=self.now())
        await self._send_all(answer.posts)
        if answer.delay or self.latency:
            await asyncio.sleep(answer.delay + self.latency)
        return self._response(answer)

    @staticmethod
    def _response(answer: Answer) -> Response:
        return _LostReply() if answer.lost else Response(answer.body, answer.status, dict(answer.headers))

    async def _send_all(self, posts: tuple[Post, ...]) -> None:
        """Posts in order. Those a script waits for hold the answer up; the others go on their own."""
        for post in posts:
            task = asyncio.create_task(self._send(post))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
            if post.wait:
                await task

    async def _send(self, post: Post) -> None:
        status = None
        if self._http is not None:
            try:
                status = (await self._http.post(post.url, content=post.body, headers=post.headers)).status_code
            except httpx.HTTPError:
                status = None  # nobody answered; Jestor does not try again
        self.core.delivered(post, status, self.now())

    async def health(self, _request: Request) -> Response:
        return JSONResponse({"ok": True, "rows": {n: len(t.rows) for n, t in self.core.tables.items()}})

    async def book(self, _request: Request) -> Response:
        """See JestorCore.book."""
        return JSONResponse(self.core.book())

    async def faults(self, request: Request) -> Response:
        """A fault or a list of faults; `[]` ends them."""
        specs = await request.json()
        try:
            self.core.set_faults(specs if isinstance(specs, list) else [specs])
        except (BadFault, Refused) as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({"faults": len(self.core.faults.faults)})

    async def triggers(self, request: Request) -> Response:
        """`{"url", "churn_url"?, "secret", "wait"?}`: the builder's triggers post there from now on; `{}`: none do."""
        wish = await request.json()
        self.core.triggers = builder_defined(**wish) if wish else []
        return JSONResponse({"triggers": len(self.core.triggers)})

    async def reset(self, _request: Request) -> Response:
        self.core.reset()
        self.offset = 0.0
        return JSONResponse({"ok": True})

    async def clock(self, request: Request) -> Response:
        """`{"offset_seconds": n}`, or `{"now": "2026-12-01T06:00:00-03:00"}` (or a Unix time); it runs on."""
        wish = await request.json()
        if "now" in wish:
            now = wish["now"]
            moment = datetime.fromisoformat(now).timestamp() if isinstance(now, str) else float(now)
            self.offset = moment - time.time()
        else:
            self.offset = float(wish["offset_seconds"])
        return JSONResponse({"now": self.now(), "offset_seconds": self.offset})

    async def edit(self, request: Request) -> Response:
        """A person edits, creates or deletes a record; see JestorCore.edit."""
        try:
            posts = self.core.edit(await request.json(), self.now())
        except Refused as refused:
            return JSONResponse({"error": str(refused)}, refused.code)
        await self._send_all(posts)
        return JSONResponse({"ok": True, "posts": len(posts)})


class _Announcing(uvicorn.Server):
    """Calls `ready` once the socket is being served."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._ready()


def bound(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one."""
    return socket.create_server((host, port), backlog=512)


def serve(core: JestorCore, sock: socket.socket, *, latency: float, ready: Callable[[], None]) -> None:
    """Serves until a signal stops it."""
    _server(core, latency, ready).run(sockets=[sock])


def _server(core: JestorCore, latency: float, ready: Callable[[], None]) -> _Announcing:
    app = JestorServer(core, latency=latency).app()
    return _Announcing(uvicorn.Config(app, log_level="critical", access_log=False, ws="none"), ready)


@contextmanager
def serving(core: JestorCore, *, latency: float = 0.0) -> Iterator[str]:
    """The core on a free loopback port, in a thread; gives the base URL. For tests and demonstrations."""
    started = threading.Event()
    sock = bound("127.0.0.1", 0)
    server = _server(core, latency, started.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    try:
        if not started.wait(10):
            raise RuntimeError("the Jestor simulator did not start within 10 seconds")
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        sock.close()
