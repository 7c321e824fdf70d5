"""The local API as a Litestar application: routes, and refusals as problem details.

Takes HTTP from a Unix socket that only the owner can open, gives it to ``desk.py``. JSON only, at
most 64 KiB. Source: RFC 9457; protocol §13.
"""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from litestar import Litestar, Request, Response, delete, get, patch, post
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.response import Stream

from crdt.errors import EventIgnored, ProposalRefused, UnknownStory
from machines.codec import enc_hook
from machines.errors import InvalidValue
from node.api import types
from node.api.desk import Desk
from node.errors import Trouble

BODY_BYTES_MAX = 64 * 1024
_ENCODER = msgspec.json.Encoder(
    enc_hook=lambda value: value.hex() if isinstance(value, bytes) else enc_hook(value)
)


def as_json(value: object) -> Response[bytes]:
    """Anything of ours as JSON."""
    return Response(_ENCODER.encode(value), media_type="application/json")


def build(desk: Desk) -> Litestar:
    """The application around one daemon."""
    return Litestar(
        [*_looking(desk), *_acting(desk), *_membership(desk), *_running(desk)],
        exception_handlers={Exception: _refuse},
        openapi_config=OpenAPIConfig(
            title="Gangline",
            version="1",
            path="/",
            render_plugins=[JsonRenderPlugin(path="/openapi.json")],
        ),
        request_max_body_size=BODY_BYTES_MAX,
        logging_config=None,
    )


def _looking(desk: Desk) -> list[HTTPRouteHandler]:
    @get("/status")
    async def status() -> types.Status:
        """The node and its cluster at a glance."""
        return await desk.status()

    @get("/nodes")
    async def nodes() -> list[types.NodeRow]:
        """Every node of the cluster."""
        return await desk.nodes()

    @get("/peers")
    async def peers() -> list[types.PeerRow]:
        """Every link."""
        return await desk.peers()

    @get("/stories")
    async def stories() -> Response[bytes]:
        """The board."""
        return as_json(await desk.stories())

    @get("/stories/{story:str}")
    async def story(story: str) -> Response[bytes]:
        """One story."""
        return as_json(await desk.story(story))

    @get("/stories/{story:str}/explain")
    async def explain(story: str) -> Response[bytes]:
        """Why a story stands where it stands."""
        return as_json(await desk.explain(story))

    return [status, nodes, peers, stories, story, explain]


def _acting(desk: Desk) -> list[HTTPRouteHandler]:
    @post("/stories/{story:str}")
    async def add(story: str, data: types.Add) -> types.Written:
        """Name a new story."""
        return await desk.add(story, data)

    @patch("/stories/{story:str}")
    async def edit(story: str, data: types.Add) -> types.Written:
        """Change a story's fields."""
        return await desk.edit(story, data)

    @post("/stories/{story:str}/events")
    async def fire(story: str, data: types.Fire) -> types.Written:
        """Fire an event."""
        return await desk.fire(story, data)

    @post("/stories/{story:str}/claim")
    async def claim(story: str, data: types.ClaimFor) -> types.Written:
        """Take or renew this node's claim."""
        return await desk.claim(story, data.seconds)

    @delete("/stories/{story:str}/claim", status_code=200)
    async def release(story: str) -> types.Written:
        """Give this node's claim back."""
        return await desk.release(story)

    @get("/stories/{story:str}/execution")
    async def execution(story: str) -> Response[bytes]:
        """What this node is doing about a story."""
        return as_json(await desk.execution(story))

    @post("/stories/{story:str}/execution")
    async def fire_execution(story: str, data: types.FireExecution) -> types.Written:
        """Fire an event at this node's own execution."""
        return await desk.fire_execution(story, data)

    @post("/stories/{story:str}/execution/beat")
    async def beat(story: str) -> None:
        """The story's agent is there."""
        await desk.beat(story)

    return [add, edit, fire, claim, release, execution, fire_execution, beat]


def _membership(desk: Desk) -> list[HTTPRouteHandler]:
    @post("/invite")
    async def invite(data: types.Invite) -> types.Ticket:
        """Write a ticket."""
        return await desk.invite(data)

    @post("/members")
    async def admit(data: types.Admit) -> types.Written:
        """Admit a node by its key."""
        return await desk.admit(data)

    @post("/members/revoke")
    async def revoke(data: types.Revoke) -> types.Written:
        """Withdraw a node's admissions."""
        return await desk.revoke(data)

    return [invite, admit, revoke]


def _running(desk: Desk) -> list[HTTPRouteHandler]:
    @get("/inspect/feeds")
    async def feeds() -> list[types.FeedRow]:
        """Every feed as held here."""
        return await desk.feeds()

    @get("/inspect/quarantine")
    async def quarantine() -> list[types.QuarantineRow]:
        """What was turned away."""
        return await desk.quarantine()

    @get("/events")
    async def events(story: str | None = None) -> Stream:
        """What happens from now on, one JSON object a line."""
        return Stream(_events(desk, story), media_type="application/x-ndjson")

    @post("/stop", status_code=202)
    async def stop() -> None:
        """End the daemon."""
        desk.stop()

    return [feeds, quarantine, events, stop]


async def _events(desk: Desk, story: str | None) -> AsyncIterator[bytes]:
    def wanted(event: Any) -> bool:
        return story is None or getattr(event, "story", None) == story

    with desk.driver.bus.subscribe(wanted) as subscription:
        yield b"\n"  # the headers go out now: from here on nothing is missed
        async for event in subscription:
            yield _ENCODER.encode(event) + b"\n"


def _refuse(_request: Request[Any, Any, Any], fault: Exception) -> Response[bytes]:
    """Every refusal as problem details."""
    match fault:
        case EventIgnored():
            problem = types.Problem(
                "ignored", 409, str(fault), stage=fault.state, event=fault.event, legal=fault.legal
            )
        case UnknownStory():
            problem = types.Problem("unknown story", 404, str(fault))
        case ProposalRefused():
            problem = types.Problem("refused", 409, str(fault))
        case InvalidValue() | msgspec.ValidationError() | ValueError():
            problem = types.Problem("malformed", 400, str(fault))
        case Trouble():
            problem = types.Problem("store failure", 503, fault.sentence)
        case HTTPException():
            extra = f": {fault.extra}" if fault.extra else ""
            problem = types.Problem("malformed", fault.status_code, f"{fault.detail}{extra}")
        case _:
            raise fault
    return Response(
        msgspec.json.encode(problem),
        status_code=problem.status,
        media_type="application/problem+json",
    )
