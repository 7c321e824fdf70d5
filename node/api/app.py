"""The local API as a Litestar application: routes, and refusals as problem details.

Requests come over a Unix socket that only the owner can open, and go to ``service.py``. Bodies are
JSON of at most 64 KiB. Source: RFC 9457; protocol §13.
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
"""How long to wait for other nodes, from ``wait_for`` and ``timeout`` in the query."""

log = logging.getLogger("gangline.api")

BODY_BYTES_MAX = 64 * 1024
_ENCODER = msgspec.json.Encoder(
    enc_hook=lambda value: value.hex() if isinstance(value, bytes) else enc_hook(value)
)


class _Values(OpenAPISchemaPlugin):
    """Describes our own value types in the OpenAPI document: all are strings in JSON."""

    @staticmethod
    def is_plugin_supported_type(value: Any) -> bool:
        """Whether the type is one of our own, made from ``str`` or ``bytes``."""
        return (
            isinstance(value, type)
            and issubclass(value, str | bytes)
            and value.__module__.partition(".")[0] in ("machines", "crdt")
            and not issubclass(value, Enum)
        )

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: Any) -> Schema:  # noqa: ARG002 - the framework's signature
        """Return the schema of a string, titled with the type's name."""
        return Schema(type=OpenAPIType.STRING, title=field_definition.annotation.__name__)


def build(service: NodeService) -> Litestar:
    """Build the application of one daemon."""
    return Litestar(
        [
            *_board_routes(service),
            *_story_routes(service),
            *membership.routes(service.membership),
            *tickets.routes(service.tickets),
            *_key_routes(service),
            *_daemon_routes(service),
        ],
        exception_handlers={Exception: _refuse},
        guards=[_require_json],
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


def _board_routes(service: NodeService) -> list[HTTPRouteHandler]:
    @get("/status")
    async def status() -> rows.Status:
        """The state of this node and its cluster."""
        return await service.status()

    @get("/nodes")
    async def nodes() -> list[rows.NodeRow]:
        """Every node of the cluster."""
        return await service.nodes()

    @get("/peers")
    async def peers() -> list[rows.PeerRow]:
        """Links, failed attempts, and bans."""
        return await service.peers()

    @get("/stories")
    async def stories() -> list[StoryOut]:
        """The board."""
        return await service.stories()

    @get("/stories/{story:str}")
    async def story(story: FromPath[str]) -> StoryOut:
        """One story."""
        return await service.story(story)

    @get("/stories/{story:str}/explain")
    async def explain(story: FromPath[str]) -> Explained:
        """Why a story is at its stage."""
        return await service.explain(story)

    return [status, nodes, peers, stories, story, explain]


def _story_routes(service: NodeService) -> list[HTTPRouteHandler]:
    @post("/stories/{story:str}")
    async def add(
        story: FromPath[str], data: JSONBody[rows.Add], patience: Waiting
    ) -> rows.Written:
        """Add a story."""
        return await service.add(story, data, patience)

    @patch("/stories/{story:str}")
    async def edit(
        story: FromPath[str], data: JSONBody[rows.Add], patience: Waiting
    ) -> rows.Written:
        """Change a story's fields."""
        return await service.edit(story, data, patience)

    @post("/stories/{story:str}/events")
    async def fire(
        story: FromPath[str], data: JSONBody[rows.Fire], patience: Waiting
    ) -> rows.Written:
        """Fire an event."""
        return await service.fire(story, data, patience)

    @post("/stories/{story:str}/claim")
    async def claim(
        story: FromPath[str], data: JSONBody[rows.ClaimFor], patience: Waiting
    ) -> rows.Written:
        """Claim a story for this node, or renew the claim."""
        return await service.claim(story, data.seconds, patience)

    @delete("/stories/{story:str}/claim", status_code=200)
    async def release(story: FromPath[str], patience: Waiting) -> rows.Written:
        """Release this node's claim."""
        return await service.release(story, patience)

    @get("/stories/{story:str}/execution")
    async def execution(story: FromPath[str]) -> OwnExecution:
        """This node's execution of a story."""
        return await service.execution(story)

    @post("/stories/{story:str}/execution")
    async def fire_execution(
        story: FromPath[str], data: JSONBody[rows.ExecutionEventRequest]
    ) -> rows.Written:
        """Fire an event at this node's own execution."""
        return await service.fire_execution(story, data)

    @post("/stories/{story:str}/execution/beat")
    async def beat(story: FromPath[str]) -> None:
        """Record a heartbeat of the story's agent."""
        await service.beat(story)

    return [add, edit, fire, claim, release, execution, fire_execution, beat]


def _key_routes(service: NodeService) -> list[HTTPRouteHandler]:
    @post("/leave", status_code=204)
    async def leave() -> None:
        """Leave the cluster."""
        await service.parting.leave()

    @post("/rotate")
    async def rotate() -> rows.NewKey:
        """Replace this node's key; the daemon restarts under the new one."""
        return rows.NewKey((await service.parting.rotate()).hex())

    return [leave, rotate]


def _daemon_routes(service: NodeService) -> list[HTTPRouteHandler]:
    @get("/inspect/digest")
    async def digest() -> rows.Digest:
        """The document digest."""
        return rows.Digest((await service.status()).digest)

    @get("/inspect/feeds")
    async def feeds() -> list[rows.FeedRow]:
        """Every feed as this node has it."""
        return await service.feeds()

    @get("/inspect/quarantine")
    async def quarantine() -> list[rows.QuarantineRow]:
        """Rejected and refused records."""
        return await service.quarantine()

    @get("/inspect/history")
    async def history(
        story: FromQuery[str] = "", limit: FromQuery[int] = HISTORY_SHOWN
    ) -> list[rows.HistoryRow]:
        """Past events on this node, newest first."""
        return await service.history(story, request_parsing.limit(limit))

    @get("/export")
    async def export() -> Response[bytes]:
        """The board as lines of JSON."""
        lines = await service.export()
        return Response(_ENCODER.encode_lines(lines), media_type="application/x-ndjson")

    @get("/events")
    async def events(story: FromQuery[str | None] = None) -> Stream:
        """Events from now on, one JSON object a line."""
        return Stream(_events(service, story), media_type="application/x-ndjson")

    @get("/alive", status_code=204)
    async def alive() -> None:
        """Answer without content, to show that the daemon is running."""

    @post("/stop", status_code=202)
    async def stop() -> None:
        """Stop the daemon."""
        service.stop()

    @get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request[Any, Any, Any]) -> dict[str, Any]:
        """The OpenAPI document."""
        return request.app.openapi_schema.to_schema()

    return [digest, feeds, quarantine, history, export, events, alive, stop, openapi]


async def _events(service: NodeService, story: str | None) -> AsyncIterator[bytes]:
    """Events, one JSON object a line."""

    def wanted(event: Any) -> bool:
        return story is None or getattr(event, "story", None) == story

    with service.driver.bus.subscribe(wanted) as subscription:
        yield b"\n"  # sends the headers; from here on no event is missed
        async for event in subscription:
            yield _ENCODER.encode(event) + b"\n"


def _require_json(
    connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler
) -> None:
    """Refuse a body of another type than JSON: a foreign web page could send one by itself.

    Raises:
        HTTPException: the content type is not JSON.
    """
    kind = connection.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("", "application/json"):
        raise HTTPException(
            status_code=HTTP_415_UNSUPPORTED_MEDIA_TYPE, detail=f"the body must be JSON, not {kind}"
        )


def _detail(fault: HTTPException) -> str:
    """The framework's message, with its details of each field."""
    parts = []
    for one in fault.extra if isinstance(fault.extra, list) else ():
        key, message = str(one.get("key", "")), humanize(str(one.get("message", "")))
        if message == repr(key):
            parts.append("a JSON body is needed")
        else:
            parts.append(message if key == "data" else f"{key}: {message}")
    return "; ".join(parts) or fault.detail


def _refuse(_request: Request[Any, Any, Any], fault: Exception) -> Response[bytes]:
    """Convert an exception to problem details."""
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
            problem = rows.Problem("malformed", 400, "the body is not UTF-8")
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
            problem = rows.Problem("failed", 500, "the daemon failed; its log has the reason")
    return Response(
        msgspec.json.encode(problem),
        status_code=problem.status,
        media_type="application/problem+json",
    )
