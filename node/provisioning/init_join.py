"""Creates a node: founds a cluster, or joins one with a ticket.

Writes the home, the key, the store with the founding record, and last the config. Source: protocol
§4, §9.
"""

import secrets
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET

from crdt.contract.ready import Persist, Row, RowKey
from crdt.ledger.ingest import UndecodableRecord, verify_records
from crdt.primitives.errors import PeerFault
from crdt.primitives.identity import ClusterId, FeedId, Hash, SigningKey, cluster_id_of
from crdt.records.bodies import Member, Role, encode_body
from crdt.records.record import VerifiedRecord, sign_record, signed_record
from crdt.records.signatures import verify_batch
from machines.errors import InvalidValue
from machines.values import Instant, NodePubkey
from node.config import key_file, settings
from node.config.node_name import node_name
from node.config.settings import Config, PeerSettings, bad_address
from node.config.validation_messages import humanize
from node.network.disconnect_reasons import message_for_peer
from node.network.handshake import HelloRefused, Identity
from node.network.link import reach
from node.network.ticket import Ticket
from node.runtime.peer_link import DisconnectReason
from node.storage.store import Store
from node.system import clock
from node.system.errors import OperatorError
from node.system.exit_codes import Exit
from node.system.home import Home


def found(
    home: Home, name: str, listen: str, advertise: Sequence[str] = ()
) -> tuple[NodePubkey, ClusterId]:
    """Found a cluster; returns this node's key and the cluster id.

    Raises:
        OperatorError: a node exists here, or something cannot be written.
    """
    at = _time()
    check(Config("", "", name, listen, [*advertise]))
    key = _create(home)
    body = _founder(key.pubkey, name, at)
    cluster = cluster_id_of(key.pubkey, encode_body(body))
    record = sign_record(key, cluster, 0, 0, body)
    _store(home, record, at)
    settings.write(
        home.config,
        Config(
            cluster=cluster.hex(),
            founder=key.pubkey.hex(),
            name=name,
            listen=listen,
            advertise=[*advertise],
        ),
    )
    return key.pubkey, cluster


async def join(
    home: Home, ticket: Ticket, name: str, listen: str, advertise: Sequence[str] = ()
) -> NodePubkey:
    """Join a cluster with a ticket; returns this node's key.

    Raises:
        OperatorError: a node exists here, or the inviter is unreachable or refuses.
    """
    if clock.wall_ms() > ticket.expires_ms:
        raise OperatorError(message_for_peer(DisconnectReason.EXPIRED_TICKET), Exit.REFUSED)
    inviter = NodePubkey(ticket.inviter)
    peers = [PeerSettings(inviter.hex(), ticket.address)]
    at = _time()
    check(Config("", "", name, listen, [*advertise], peers))
    fresh = not home.path.exists()
    key = _create(home)
    try:
        _, accepted = await reach(
            ticket.address,
            inviter,
            Identity(key, ticket.cluster_id),
            at,
            ticket=ticket.secret.hex(),
            name=name,
        )
        founder = NodePubkey.from_hex(accepted.founder)
        record = _check_founding(founder, bytes.fromhex(accepted.founding), ticket.cluster_id)
    except HelloRefused as refusal:
        home.unmake(whole=fresh)
        raise OperatorError(
            message_for_peer(refusal.reason, refusal.version, refusal.free), Exit.REFUSED
        ) from refusal
    except (OSError, ValueError, PeerFault) as fault:
        home.unmake(whole=fresh)
        raise OperatorError(
            f"cannot join: {fault}; is the daemon there running, and no firewall in between?"
        ) from fault
    _store(home, record, at, {inviter: (ticket.address,)})
    settings.write(
        home.config,
        Config(
            cluster=ticket.cluster.hex(),
            founder=founder.hex(),
            name=name,
            listen=listen,
            advertise=[*advertise],
            peers=peers,
        ),
    )
    return key.pubkey


def _founder(node: NodePubkey, name: str, at: Instant) -> Member:
    """The body of the founding record."""
    return Member(
        at=at, n=0, node=node, role=Role.ADMIN, name=name, ticket=UNSET,
        nonce=Hash(secrets.token_bytes(32)),
    )  # fmt: skip


def check(config: Config) -> None:
    """Check the options before anything is written.

    Raises:
        OperatorError: they would give a record or a config that no daemon accepts.
    """
    wrong = bad_address(config)
    if wrong is not None:
        option, _, reason = wrong
        raise OperatorError(f"{option}: {reason}", Exit.USAGE)
    try:
        node_name(config.name)
    except InvalidValue as fault:
        raise OperatorError(str(fault), Exit.USAGE) from fault
    try:
        msgspec.convert(msgspec.to_builtins(config), type=Config)
    except msgspec.ValidationError as fault:
        raise OperatorError(f"invalid options: {humanize(str(fault))}", Exit.USAGE) from fault


def _time() -> Instant:
    """The wall clock.

    Raises:
        OperatorError: it is out of the range that records allow.
    """
    at = clock.wall()
    if at.is_edge:
        raise OperatorError("this host's clock is not between 2020 and 2100; set it")
    return at


def _create(home: Home) -> SigningKey:
    if home.config.exists():
        raise OperatorError(
            f"a node exists at {home.path} already; choose another folder with --home"
        )
    # The config is written last, and in one step.
    if home.key.exists() or home.store.exists():
        raise OperatorError(home.why_no_node())
    try:
        home.make()
    except OSError as fault:
        raise OperatorError(f"cannot create {home.path}: {fault}") from fault
    return key_file.generate(home.key)


def _check_founding(founder: NodePubkey, value: bytes, cluster: ClusterId) -> VerifiedRecord:
    """Verify the founding record: its hash must be the cluster id.

    Raises:
        ValueError: it is not, or the signature is invalid.
    """
    record = signed_record(FeedId(founder, 0), 0, value)
    opened = verify_records([record], cluster, founder, verify_batch)
    if cluster_id_of(founder, record.body_bytes) != cluster or not opened.records:
        raise ValueError("the inviter sent a founding record of another cluster")
    found_record = opened.records[0]
    if isinstance(found_record, UndecodableRecord):
        raise ValueError("the inviter sent a founding record that cannot be read")  # noqa: TRY004 - a value from the wire
    return found_record


def _store(
    home: Home,
    record: VerifiedRecord,
    at: Instant,
    addresses: Mapping[NodePubkey, tuple[str, ...]] | None = None,
) -> None:
    persist = Persist(doubt="", addresses=dict(addresses or {}))  # a new key has no feed to fork
    persist.rows[RowKey(*record.ref)] = Row(*record.ref, record.value)
    with Store(home.store) as store:
        store.commit(persist, [], at.ms)
