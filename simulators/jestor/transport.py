"""The core behind an httpx client in the same process: no socket, no thread, time as the test wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulators.jestor.core import JestorCore


def transport(
    core: JestorCore, now: Callable[[], float], sleep: Callable[[float], None] | None = None
) -> httpx.MockTransport:
    """For `httpx.Client(transport=...)`. `now`: Unix time; `sleep`: what a slow answer does (nothing).

    An answer slower than the client's read time-out raises httpx.ReadTimeout, though the call was executed.
    """

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode()
        reply = core.handle(path, dict(request.headers), request.content, now=now())
        limit = request.extensions.get("timeout", {}).get("read")
        late = limit is not None and reply.delay > limit
        if sleep is not None and reply.delay:
            sleep(min(reply.delay, limit) if late else reply.delay)
        if late:
            raise httpx.ReadTimeout("the answer did not come in time", request=request)
        if reply.lost:
            raise httpx.RemoteProtocolError("the server disconnected without an answer", request=request)
        return httpx.Response(reply.status, headers=dict(reply.headers), content=reply.body)

    return httpx.MockTransport(answer)
