"""The local API as a Litestar application: routes, and refusals as problem details.

Takes HTTP from a Unix socket that only the owner can open, gives it to ``service.py``. JSON only,
at most 64 KiB. Source: RFC 9457; protocol §13.
"""

import logging
from collections.abc import AsyncIterator
from enum import Enum
from typing import Any

import msgspec
from litestar import Litestar, Request, Response, delete, get, patch, post
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import OpenAPIType, Schema
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.plugins import OpenAPISchemaPlugin
from litestar.response import Stream
from litestar.status_codes import HTTP_400_BAD_REQUEST, HTTP_415_UNSUPPORTED_MEDIA_TYPE
from litestar.typing import FieldDefinition

from crdt.primitives.errors import EventIgnored, HeldUp, ProposalRefused, UnknownStory
from machines.codec import enc_hook
from machines.errors import InvalidValue
from node.api import membership, request_parsing, tickets
from node.api.presenters import OwnExecution, StoryOut
from node.api.request_parsing import Malformed
from node.api.service import NodeService
from node.config.validation_messages import humanize
from node.reporting import rows
from node.reporting.queries import Explained
from node.storage.history import HISTORY_SHOWN
from node.system.errors import OperatorError, StoreFailure

Waiting = NamedDependency[rows.Patience]
"""How long the answer waits for other nodes; in the query, as ``wait_for`` and ``timeout``."""

log = logging.getLogger("gangline.api")

BODY_BYTES_MAX = 64 * 1024
_ENCODER = msgspec.json.Encoder(
    enc_hook=lambda value: value.hex() if isinstance(value, bytes) else enc_hook(value)
)


class _Values(OpenAPISchemaPlugin):
    """Our own values in the OpenAPI document: all of them cross JSON as strings."""

    @staticmethod
    def is_plugin_supported_type(value: Any) -> bool:
        """Whether it is a ``str`` or ``bytes`` of ours."""
        return (
            isinstance(value, type)
            and issubclass(value, str | bytes)
            and value.__module__.partition(".")[0] in ("machines", "crdt")
            and not issubclass(value, Enum)
        )

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: Any) -> Schema:  # noqa: ARG002 - the framework's signature
        """A string, by the name of its type."""
        return Schema(type=OpenAPIType.STRING, title=field_definition.annotation.__name__)


def build(desk: NodeService) -> Litestar:
    """The application around one daemon."""
    return Litestar(
        [
            *_looking(desk),
            *_acting(desk),
            *membership.routes(desk.membership),
            *tickets.routes(desk.tickets),
            *_parting(desk),
            *_running(desk),
        ],
        exception_handlers={Exception: _refuse},
        guards=[_json_alone],
        dependencies={"patience": Provide(request_parsing.patience, sync_to_thread=False)},
        type_encoders={bytes: bytes.hex, str: str},
        plugins=[_Values()],
        openapi_config=OpenAPIConfig(
            title="Gangline",
            version="1",
            path="/openapi",  # its own pages turn unknown paths into HTML, so not at the root
        ),
        request_max_body_size=BODY_BYTES_MAX,
        logging_config=None,
    )


def _looking(desk: NodeService) -> list[HTTPRouteHandler]:
    @get("/status")
    async def status() -> rows.Status:
        """The node and its cluster at a glance."""
        return await desk.status()

    @get("/nodes")
    async def nodes() -> list[rows.NodeRow]:
        """Every node of the cluster."""
        return await desk.nodes()

    @get("/peers")
    async def peers() -> list[rows.PeerRow]:
        """Every link."""
        return await desk.peers()

    @get("/stories")
    async def stories() -> list[StoryOut]:
        """The board."""
        return await desk.stories()

    @get("/stories/{story:str}")
    async def story(story: FromPath[str]) -> StoryOut:
        """One story."""
        return await desk.story(story)

    @get("/stories/{story:str}/explain")
    async def explain(story: FromPath[str]) -> Explained:
        """Why a story stands where it stands."""
        return await desk.explain(story)

    return [status, nodes, peers, stories, story, explain]


def _acting(desk: NodeService) -> list[HTTPRouteHandler]:
    @post("/stories/{story:str}")
    async def add(
        story: FromPath[str], data: JSONBody[rows.Add], patience: Waiting
    ) -> rows.Written:
        """Name a new story."""
        return await desk.add(story, data, patience)

    @patch("/stories/{story:str}")
    async def edit(
        story: FromPath[str], data: JSONBody[rows.Add], patience: Waiting
    ) -> rows.Written:
        """Change a story's fields."""
        return await desk.edit(story, data, patience)

    @post("/stories/{story:str}/events")
    async def fire(
        story: FromPath[str], data: JSONBody[rows.Fire], patience: Waiting
    ) -> rows.Written:
        """Fire an event."""
        return await desk.fire(story, data, patience)

    @post("/stories/{story:str}/claim")
    async def claim(
        story: FromPath[str], data: JSONBody[rows.ClaimFor], patience: Waiting
    ) -> rows.Written:
        """Take or renew this node's claim."""
        return await desk.claim(story, data.seconds, patience)

    @delete("/stories/{story:str}/claim", status_code=200)
    async def release(story: FromPath[str], patience: Waiting) -> rows.Written:
        """Give this node's claim back."""
        return await desk.release(story, patience)

    @get("/stories/{story:str}/execution")
    async def execution(story: FromPath[str]) -> OwnExecution:
        """What this node is doing about a story."""
        return await desk.execution(story)

    @post("/stories/{story:str}/execution")
    async def fire_execution(
        story: FromPath[str], data: JSONBody[rows.ExecutionEventRequest]
    ) -> rows.Written:
        """Fire an event at this node's own execution."""
        return await desk.fire_execution(story, data)

    @post("/stories/{story:str}/execution/beat")
    async def beat(story: FromPath[str]) -> None:
        """The story's agent is there."""
        await desk.beat(story)

    return [add, edit, fire, claim, release, execution, fire_execution, beat]


def _parting(desk: NodeService) -> list[HTTPRouteHandler]:
    @post("/leave", status_code=204)
    async def leave() -> None:
        """Have this node taken off the roster."""
        await desk.parting.leave()

    @post("/rotate")
    async def rotate() -> rows.NewKey:
        """Go on under a new key; the daemon starts again under it."""
        return rows.NewKey((await desk.parting.rotate()).hex())

    return [leave, rotate]


def _running(desk: NodeService) -> list[HTTPRouteHandler]:
    @get("/inspect/digest")
    async def digest() -> rows.Digest:
        """The document digest."""
        return rows.Digest((await desk.status()).digest)

    @get("/inspect/feeds")
    async def feeds() -> list[rows.FeedRow]:
        """Every feed as held here."""
        return await desk.feeds()

    @get("/inspect/quarantine")
    async def quarantine() -> list[rows.QuarantineRow]:
        """What was turned away."""
        return await desk.quarantine()

    @get("/inspect/history")
    async def history(
        story: FromQuery[str] = "", limit: FromQuery[int] = HISTORY_SHOWN
    ) -> list[rows.HistoryRow]:
        """What happened here, the newest first."""
        return await desk.history(story, request_parsing.limit(limit))

    @get("/export")
    async def export() -> Response[bytes]:
        """The board as lines of JSON."""
        lines = await desk.export()
        return Response(_ENCODER.encode_lines(lines), media_type="application/x-ndjson")

    @get("/events")
    async def events(story: FromQuery[str | None] = None) -> Stream:
        """What happens from now on, one JSON object a line."""
        return Stream(_events(desk, story), media_type="application/x-ndjson")

    @get("/alive", status_code=204)
    async def alive() -> None:
        """Nothing: that the daemon answers is the answer, whatever it is busy with."""

    @post("/stop", status_code=202)
    async def stop() -> None:
        """End the daemon."""
        desk.stop()

    @get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request[Any, Any, Any]) -> dict[str, Any]:
        """This API, described."""
        return request.app.openapi_schema.to_schema()

    return [digest, feeds, quarantine, history, export, events, alive, stop, openapi]


async def _events(desk: NodeService, story: str | None) -> AsyncIterator[bytes]:
    """What happens, an object a line."""

    def wanted(event: Any) -> bool:
        return story is None or getattr(event, "story", None) == story

    with desk.driver.bus.subscribe(wanted) as subscription:
        yield b"\n"  # the headers go out now: from here on nothing is missed
        async for event in subscription:
            yield _ENCODER.encode(event) + b"\n"


def _json_alone(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
    """A body is JSON and says so: a page elsewhere can send no other site that unasked.

    Raises:
        HTTPException: it is something else.
    """
    kind = connection.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("", "application/json"):
        raise HTTPException(
            status_code=HTTP_415_UNSUPPORTED_MEDIA_TYPE, detail=f"JSON alone is taken, not {kind}"
        )


def _detail(fault: HTTPException) -> str:
    """What the framework says, with what it knows of each field."""
    told = []
    for one in fault.extra if isinstance(fault.extra, list) else ():
        key, message = str(one.get("key", "")), humanize(str(one.get("message", "")))
        if message == repr(key):
            told.append("a JSON body is needed")
        else:
            told.append(message if key == "data" else f"{key}: {message}")
    return "; ".join(told) or fault.detail


def _refuse(_request: Request[Any, Any, Any], fault: Exception) -> Response[bytes]:
    """Every refusal as problem details."""
    match fault:
        case EventIgnored():
            problem = rows.Problem(
                "ignored", 409, str(fault), stage=fault.state, event=fault.event, legal=fault.legal
            )
        case UnknownStory():
            problem = rows.Problem("unknown story", 404, str(fault))
        case HeldUp():
            problem = rows.Problem("not now", 503, str(fault))
        case ProposalRefused():
            problem = rows.Problem("refused", 409, str(fault))
        case InvalidValue() | Malformed():
            problem = rows.Problem("malformed", 400, str(fault))
        case UnicodeDecodeError():
            problem = rows.Problem("malformed", 400, "JSON is UTF-8, and this is not")
        case RecursionError():
            problem = rows.Problem("malformed", 400, "nested too deeply")
        case OperatorError():
            title = "store failure" if isinstance(fault, StoreFailure) else "not now"
            problem = rows.Problem(title, 503, fault.message)
        case HTTPException():
            title = "malformed" if fault.status_code == HTTP_400_BAD_REQUEST else "refused"
            problem = rows.Problem(title, fault.status_code, _detail(fault))
        case _:
            log.error("a request failed", exc_info=fault)
            problem = rows.Problem("failed", 500, "the daemon failed at this; its log says why")
    return Response(
        msgspec.json.encode(problem),
        status_code=problem.status,
        media_type="application/problem+json",
    )
