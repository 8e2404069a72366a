"""The core behind an httpx client in the same process: no socket, no thread, time as the test wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulators.omie.core import OmieCore


def transport(
    core: OmieCore, now: Callable[[], float], sleep: Callable[[float], None] | None = None
) -> httpx.MockTransport:
    """For `httpx.Client(transport=...)`. `now`: Unix time; `sleep`: what a call's duration does (nothing).

    An answer slower than the client's read time-out raises httpx.ReadTimeout, though the call was executed.
    Give a `sleep` that moves `now`, or Omie sees one serial client's calls as simultaneous.
    """

    def answer(request: httpx.Request) -> httpx.Response:
        reply = core.handle(request.url.path, request.content, now=now())
        limit = request.extensions.get("timeout", {}).get("read")
        late = limit is not None and reply.delay > limit
        if sleep is not None and reply.delay:
            sleep(min(reply.delay, limit) if late else reply.delay)
        if late:
            raise httpx.ReadTimeout("the answer did not come in time", request=request)
        if reply.lost:
            raise httpx.RemoteProtocolError("the server disconnected without an answer", request=request)
        dated = {**reply.headers, "Date": core.date_header(now())}
        headers = [(name.encode(), value.encode("latin-1")) for name, value in dated.items()]
        return httpx.Response(reply.status, headers=headers, content=reply.body)

    return httpx.MockTransport(answer)
