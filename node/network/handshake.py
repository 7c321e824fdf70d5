"""The hello: two nodes prove their keys before a session, or one joins with a ticket.

It has four small JSON messages, each bounded. The listener makes the cheap checks before it checks
a signature. Source: protocol §9, §10.
"""

import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import msgspec
from websockets.exceptions import ConnectionClosed

from crdt.primitives import limits
from crdt.primitives.identity import ClusterId, SigningKey
from crdt.records.signatures import verify_batch
from crdt.wire import handshake_transcript
from machines.codec import dec_hook, enc_hook
from machines.values import Instant, NodePubkey
from node.network.disconnect_reasons import reason_from_peer
from node.runtime.peer_link import DisconnectReason

M = TypeVar("M")
NONCE_BYTES = 32
UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError)
"""Errors of decoding a peer's JSON; deep nesting raises ``RecursionError``."""


class Hello(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="hello"):
    """The dialer's first message."""

    version: int
    cluster: str
    node: NodePubkey
    nonce: str
    wants: Literal["session", "join"]


class Welcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="welcome"):
    """The listener's answer, which proves its key."""

    node: NodePubkey
    nonce: str
    at: Instant
    signature: str


class ProofMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="proof"):
    """Proves the dialer's key; carries the ticket if it joins."""

    at: Instant
    signature: str
    ticket: str = ""
    name: str = ""

    def __repr__(self) -> str:
        return f"Proof({self.at}, ***)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("at", str(self.at))]


class AcceptMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="accepted"):
    """The session begins; a node that joined learns the founder."""

    founder: str = ""
    founding: str = ""


class RefuseMessage(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag="refused"
):
    """No session, with the reason in one word.

    Attributes:
        version: the version that is required, if that is the reason.
        free: a free name, if the requested one is taken.
    """

    reason: str
    version: int = 0
    free: str = ""


Message = Hello | Welcome | ProofMessage | AcceptMessage | RefuseMessage
_DECODER = msgspec.json.Decoder(Message, dec_hook=dec_hook)


class _AnyHello(msgspec.Struct, frozen=True, tag="hello"):
    version: int


class _AnyRefused(msgspec.Struct, frozen=True, tag="refused"):
    reason: str
    version: int = 0


_OF_ANY_VERSION = msgspec.json.Decoder(_AnyHello | _AnyRefused)


class HelloRefused(Exception):
    """The hello failed.

    Attributes:
        reason: one word, the same on both sides.
        from_peer: whether the other side refused.
        version: the other side's version of the protocol, if that is the reason.
        free: a free name, if the requested one is taken.
    """

    def __init__(
        self, reason: str, *, from_peer: bool = False, version: int = 0, free: str = ""
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.from_peer = from_peer
        self.version = version
        self.free = free


class Socket(Protocol):
    """The part of a websocket that the hello needs."""

    async def send(self, data: bytes) -> None:
        """Send one message."""

    async def recv(self) -> Any:
        """Receive one message."""


class PeerAuthorizer(Protocol):
    """Decides which nodes may link."""

    def why_not(self, node: NodePubkey) -> str:
        """One word why a node may not link; empty if it may."""

    async def join(self, node: NodePubkey, ticket: bytes, name: str) -> AcceptMessage:
        """Admit a node by its ticket.

        Raises:
            HelloRefused: the ticket is not valid.
        """


@dataclass(frozen=True, slots=True)
class Identity:
    """This node's key and its cluster."""

    key: SigningKey
    cluster: ClusterId


async def send(socket: Socket, message: Message) -> None:
    """Send one message."""
    await socket.send(msgspec.json.encode(message, enc_hook=enc_hook))


async def receive(socket: Socket, kind: type[M]) -> M:
    """Receive the next message, which must be of one kind.

    Raises:
        HelloRefused: it is of another kind, or the other side refuses.
    """
    data = await socket.recv()
    if not isinstance(data, bytes) or len(data) > limits.HELLO_BYTES_MAX:
        raise HelloRefused(DisconnectReason.MALFORMED_FRAME)
    try:
        message = _DECODER.decode(data)
    except UNREADABLE as fault:
        raise _why_unreadable(data) from fault
    if isinstance(message, RefuseMessage):
        raise _refused(message.reason, message.version, message.free)
    if not isinstance(message, kind):
        raise HelloRefused(DisconnectReason.MALFORMED_FRAME)
    return message


def _why_unreadable(data: bytes) -> HelloRefused:
    """The reason why a message cannot be decoded: another version, or malformed.

    Other versions may have other fields, but the version itself must stay readable in all.
    """
    try:
        message = _OF_ANY_VERSION.decode(data)
    except UNREADABLE:
        return HelloRefused(DisconnectReason.MALFORMED_FRAME)
    if isinstance(message, _AnyRefused):
        return _refused(message.reason, message.version)
    if message.version == handshake_transcript.PROTOCOL_VERSION:
        return HelloRefused(DisconnectReason.MALFORMED_FRAME)
    return HelloRefused(DisconnectReason.WRONG_VERSION, version=message.version)


def _refused(reason: str, version: int, free: str = "") -> HelloRefused:
    return HelloRefused(
        reason_from_peer(reason) or "refused", from_peer=True, version=version, free=free
    )


def _signed(
    me: Identity,
    role: int,
    dialer: NodePubkey,
    listener: NodePubkey,
    nonces: tuple[bytes, bytes],
    certificate: bytes,
) -> bytes:
    return handshake_transcript.hello_bytes(
        handshake_transcript.PROTOCOL_VERSION,
        me.cluster,
        role,
        dialer,
        listener,
        *nonces,
        certificate,
    )


def _check(node: NodePubkey, transcript: bytes, signature: str) -> None:
    try:
        raw = bytes.fromhex(signature)
    except ValueError:
        raw = b""
    if not verify_batch([(node, transcript, raw)])[0]:
        raise HelloRefused(DisconnectReason.BAD_SIGNATURE)


def _nonce(text: str) -> bytes:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(raw) != NONCE_BYTES:
        raise HelloRefused(DisconnectReason.MALFORMED_FRAME)
    return raw


async def dial(
    socket: Socket,
    me: Identity,
    wanted: NodePubkey,
    certificate: bytes,
    now: Instant,
    *,
    ticket: str = "",
    name: str = "",
) -> tuple[Instant, AcceptMessage]:
    """The dialer's side of the hello.

    Returns:
        The listener's clock and its last message.

    Raises:
        HelloRefused: there is no session.
    """
    mine = secrets.token_bytes(NONCE_BYTES)
    wants: Literal["session", "join"] = "join" if ticket else "session"
    own = me.key.pubkey
    version = handshake_transcript.PROTOCOL_VERSION
    await send(socket, Hello(version, me.cluster.hex(), own, mine.hex(), wants))
    welcome = await receive(socket, Welcome)
    if welcome.node != wanted:
        raise HelloRefused(DisconnectReason.WRONG_KEY)
    nonces = (mine, _nonce(welcome.nonce))
    transcript = _signed(me, handshake_transcript.LISTENED, own, wanted, nonces, certificate)
    _check(wanted, transcript, welcome.signature)
    transcript = _signed(me, handshake_transcript.DIALLED, own, wanted, nonces, certificate)
    # The secret is sent only now, to a node that has proven its key.
    await send(socket, ProofMessage(now, me.key.sign(transcript).hex(), ticket, name))
    return welcome.at, await receive(socket, AcceptMessage)


async def listen(
    socket: Socket,
    me: Identity,
    authorizer: PeerAuthorizer,
    certificate: bytes,
    now: Instant,
    is_banned: Callable[[NodePubkey], bool],
) -> tuple[NodePubkey, Instant, bool]:
    """The listener's side of the hello.

    Args:
        is_banned: whether a key is banned.

    Returns:
        The peer, its clock, and whether it only joined.

    Raises:
        HelloRefused: there is no session; the other side received the same reason.
    """
    try:
        first = await receive(socket, Hello)
        if first.version != handshake_transcript.PROTOCOL_VERSION:
            raise HelloRefused(DisconnectReason.WRONG_VERSION, version=first.version)
        if first.cluster != me.cluster.hex():
            raise HelloRefused(DisconnectReason.WRONG_CLUSTER)
        if is_banned(first.node):
            raise HelloRefused(DisconnectReason.BANNED)
        joins = first.wants == "join"
        why_not = "" if joins else authorizer.why_not(first.node)
        if why_not:
            raise HelloRefused(why_not)
        own, mine = me.key.pubkey, secrets.token_bytes(NONCE_BYTES)
        nonces = (_nonce(first.nonce), mine)
        transcript = _signed(
            me, handshake_transcript.LISTENED, first.node, own, nonces, certificate
        )
        await send(socket, Welcome(own, mine.hex(), now, me.key.sign(transcript).hex()))
        proof = await receive(socket, ProofMessage)
        transcript = _signed(me, handshake_transcript.DIALLED, first.node, own, nonces, certificate)
        _check(first.node, transcript, proof.signature)
        accepted = AcceptMessage()
        if joins:
            accepted = await authorizer.join(first.node, _secret(proof.ticket), proof.name)
        await send(socket, accepted)
    except HelloRefused as fault:
        if not fault.from_peer:
            # The other side may have closed the connection already.
            with contextlib.suppress(ConnectionClosed):
                own_version = (
                    handshake_transcript.PROTOCOL_VERSION
                    if fault.reason == DisconnectReason.WRONG_VERSION
                    else 0
                )
                await send(socket, RefuseMessage(fault.reason, own_version, fault.free))
        raise
    return first.node, proof.at, joins


def _secret(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise HelloRefused(DisconnectReason.BAD_TICKET) from None
