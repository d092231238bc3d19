"""The stream of news, for pages that are open."""

from __future__ import annotations

from fastapi import Depends, FastAPI, Response
from fastapi.responses import StreamingResponse

from aggregator.access import Role
from aggregator.api import Refusal
from aggregator.page.frame import Frame
from aggregator.page.headers import NEVER_KEPT
from aggregator.page.visitors import Visitor


def live_routes(application: FastAPI, frame: Frame) -> None:
    """/live."""
    look = Depends(frame.visitor(Role.SHARE))

    @application.get("/live")
    def follow(visitor: Visitor = look) -> Response:
        """Server-sent events named ``pulse``; see `aggregator.page.live`."""
        if frame.live.full:
            raise Refusal(503, "too many pages are open to follow all of them; load this one again to see news")
        headers = NEVER_KEPT | {"X-Accel-Buffering": "no"}
        return StreamingResponse(frame.live.events(), headers=headers, media_type="text/event-stream")
