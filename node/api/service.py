"""The operations of the local API on the daemon, typed.

Stands between ``app.py`` and ``driver.py``; knows nothing of HTTP.
"""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial

from crdt.authoring.handlers import own_execution
from crdt.authoring.intents import (
    AddStory,
    ClaimStory,
    EditStory,
    FireEvent,
    FireExecution,
    Intent,
    ReleaseClaim,
)
from crdt.ledger.feed import Feed
from crdt.primitives.errors import UnknownStory
from crdt.primitives.identity import RecordRef
from crdt.replica import Replica
from machines.execution import Exited, Reset, Stopped
from machines.kernel import tag_of
from machines.pipeline import PIPELINE
from machines.values import Instant, StoryId
from node.api import presenters, request_parsing
from node.api.membership import Membership, written
from node.api.tickets import Tickets
from node.config.settings import Config
from node.network.dialer import Dialer
from node.network.source_addresses import Ban
from node.provisioning import board_transfer
from node.reporting import history_report, queries, seal_report
from node.reporting.rows import (
    Add,
    ExecutionEventRequest,
    FeedRow,
    Fire,
    HistoryRow,
    NodeRow,
    Patience,
    PeerRow,
    QuarantineRow,
    Status,
    Written,
)
from node.runtime.driver import Driver
from node.runtime.leave_rotate import LeaveOrRotate
from node.runtime.operator_notices import Notices
from node.system import clock
from node.system.errors import OperatorError

POLL_SECONDS = 0.02
FEEDS_AT_ONCE = 16


class NodeService:
    """The daemon, for its local callers.

    Args:
        stop: ends the daemon.
        notices: what the operator should know.
    """

    def __init__(
        self,
        driver: Driver,
        dialer: Dialer,
        config: Config,
        listen: str,
        parting: LeaveOrRotate,
        stop: Callable[[], None],
        notices: Notices,
    ) -> None:
        self.driver = driver
        self.stop = stop
        self._dialer = dialer
        self._config = config
        self._listen = listen
        self.membership = Membership(driver, parting)
        self.tickets = Tickets(driver, config, listen)
        self.parting = parting
        self._notices = notices

    # --- looking -------------------------------------------------------------------------------

    async def status(self) -> Status:
        """The node and its cluster at a glance."""
        return await self.driver.query(self._status)

    def _status(self, replica: Replica) -> Status:
        ledger = replica.ledger
        found = ledger.board.stages()
        return Status(
            node=replica.own.hex(),
            name=ledger.roster.name(replica.own) or self._config.name,
            cluster=replica.cluster.hex(),
            role=str(ledger.roster.role(replica.own) or "none"),
            founder=replica.own == ledger.roster.founder,
            incarnation=replica.incarnation,
            listen=self._listen,
            digest=replica.document_digest().hex(),
            stories={name: found[name] for name in map(tag_of, PIPELINE.states) if name in found},
            live=sum(len(feed.live()) for feed in ledger.feeds.values()),
            pending=len(ledger.pending),
            unshared=replica.unshared(),
            peers=len(self.driver.links),
            forks=sum(ledger.fork_of(feed) is not None for feed in ledger.proofs),
            writable=self.parting.why_gone() or replica.write_state(clock.now()).why,
            notices=self._notices.current(replica, clock.now()),
        )

    async def nodes(self) -> list[NodeRow]:
        """Every node on the roster."""
        linked = tuple(self.driver.links)
        return await self.driver.query(lambda r: presenters.nodes(r, linked, *_now()))

    async def peers(self) -> list[PeerRow]:
        """Every link, every failed dial, and every ban."""
        agrees, names = await self.driver.query(
            lambda replica: (
                {session.peer: session.agrees for session in replica.sessions.all()},
                queries.names(replica.ledger),
            )
        )
        rows = [
            PeerRow(
                peer.hex(),
                names.get(peer.hex(), ""),
                "linked",
                link.address,
                agrees.get(peer),
                link.frames_in,
                link.frames_out,
                "",
            )
            for peer, link in sorted(self.driver.links.items())
        ]
        shut = self._dialer.limiter.active_bans()
        keys = {one.who for one in shut}
        for peer, attempt in sorted(self._dialer.attempts.items()):
            if peer not in self.driver.links and peer.hex() not in keys:
                address = ", ".join(self._dialer.known.get(peer, ()))
                who = peer.hex(), names.get(peer.hex(), "")
                rows.append(PeerRow(*who, "down", address, None, 0, 0, attempt.last_error))
        return rows + [_banned(one, names) for one in shut]

    async def stories(self) -> list[presenters.StoryOut]:
        """The board."""
        return await self.driver.query(lambda replica: presenters.stories(replica, *_now()))

    async def story(self, story: str) -> presenters.StoryOut:
        """One story.

        Raises:
            UnknownStory: no record names it.
        """

        def look(replica: Replica) -> presenters.StoryOut | None:
            view = replica.ledger.board.story(story)
            return None if view is None else presenters.story(replica, view, *_now())

        found = await self.driver.query(look)
        if found is None:
            raise UnknownStory(story)
        return found

    async def explain(self, story: str) -> queries.Explained:
        """Why a story stands where it stands.

        Raises:
            UnknownStory: no record names it.
        """
        found = await self.driver.query(lambda replica: queries.explain(replica.ledger, story))
        if found is None:
            raise UnknownStory(story)
        return found

    async def export(self) -> list[board_transfer.Head | board_transfer.ExportedStory]:
        """The board, for an export."""
        return await self.driver.query(lambda replica: board_transfer.export(replica, _now()[0]))

    async def feeds(self) -> list[FeedRow]:
        """Every feed that anything is known of, a few in each query.

        A member may open many, and listing what each lacks takes time: in one query it would delay
        all others.
        """
        rows: list[FeedRow] = []
        shown = await self.driver.query(lambda replica: queries.known_feeds(replica.ledger))
        for start in range(0, len(shown), FEEDS_AT_ONCE):
            few = shown[start : start + FEEDS_AT_ONCE]
            rows += await self.driver.query(partial(self._feeds, few))
        return rows

    def _feeds(self, few: Iterable[Feed], replica: Replica) -> list[FeedRow]:
        names = queries.names(replica.ledger)
        look = seal_report.of_daemon(replica, names, self._dialer.known, clock.monotonic())
        return queries.feeds(few, names, look, replica.document.end)

    async def quarantine(self) -> list[QuarantineRow]:
        """What was rejected or refused, the newest first."""
        rows = await self.driver.on_disk(lambda store: store.quarantine())
        names = await self.driver.query(lambda replica: queries.names(replica.ledger))
        return queries.quarantine(rows, names)

    async def history(self, story: str, limit: int) -> list[HistoryRow]:
        """What happened here, the newest first."""
        rows = await self.driver.on_disk(lambda store: store.history(story, limit))
        names = await self.driver.query(lambda replica: queries.names(replica.ledger))
        return history_report.rows(rows, names)

    # --- acting --------------------------------------------------------------------------------

    async def add(self, story: str, asked: Add, patience: Patience) -> Written:
        """Name a new story."""
        intent = AddStory(StoryId(story), **request_parsing.story_fields(asked))
        return await self._write(intent, patience)

    async def edit(self, story: str, asked: Add, patience: Patience) -> Written:
        """Change a story's fields."""
        intent = EditStory(StoryId(story), **request_parsing.story_fields(asked))
        return await self._write(intent, patience)

    async def fire(self, story: str, asked: Fire, patience: Patience) -> Written:
        """Fire an event at a story."""
        event = request_parsing.pipeline_event(asked.event)
        return await self._write(FireEvent(StoryId(story), event, asked.force), patience)

    async def execution(self, story: str) -> presenters.OwnExecution:
        """What this node is doing about a story.

        Raises:
            UnknownStory: no record names it.
        """
        await self.story(story)
        state = await self.driver.query(lambda r: own_execution(r.ledger, r.own, story))
        return presenters.OwnExecution(state)

    async def fire_execution(self, story: str, asked: ExecutionEventRequest) -> Written:
        """Fire an event at this node's own execution of a story."""
        event = request_parsing.execution_event(asked.event)
        written = await self._write(FireExecution(StoryId(story), event), Patience())
        await self.beat(story, ended=isinstance(event, Exited | Stopped | Reset))
        return written

    async def beat(self, story: str, *, ended: bool = False) -> None:
        """Note a heartbeat of the story's agent, which this node's presence then carries."""
        at = clock.wall()

        def note(replica: Replica) -> None:
            replica.beacon.beats.pop(story, None)
            if not ended:
                replica.beacon.beats[story] = at

        await self.driver.query(note)

    async def claim(self, story: str, seconds: int, patience: Patience) -> Written:
        """Take or renew this node's claim."""
        return await self._write(ClaimStory(StoryId(story), seconds), patience)

    async def release(self, story: str, patience: Patience) -> Written:
        """Give this node's claim back."""
        return await self._write(ReleaseClaim(StoryId(story)), patience)

    async def _write(self, intent: Intent, patience: Patience) -> Written:
        receipt = await self.parting.carry_out(self.driver.propose(intent))
        holders = await self._wait(receipt.ref, patience)
        return written(receipt, queries.names_on(self.driver.roster), holders)

    async def _wait(self, ref: RecordRef, patience: Patience) -> int:
        """How many other nodes have a record, once enough do or the time is up."""
        end = clock.monotonic() + patience.seconds
        holders = 0
        while holders < patience.nodes and clock.monotonic() < end:
            try:
                holders = await self.driver.query(lambda replica: replica.sessions.holders(ref))
                await asyncio.sleep(POLL_SECONDS if holders < patience.nodes else 0)
            except (asyncio.CancelledError, OperatorError):
                # The daemon is stopping. The record is on disk all the same, so answer.
                break
        return holders


def _banned(one: Ban, names: queries.Names) -> PeerRow:
    """A ban: of a key, or of an address from which no key was shown."""
    why = f"{one.reason}: {one.times} in the last hour, may come again in {one.seconds:.0f} s"
    key, place = ("", one.who) if one.of_prefix else (one.who, "")
    return PeerRow(key, names.get(key, ""), "banned", place, None, 0, 0, why)


def _now() -> tuple[Instant, float]:
    return clock.wall(), clock.monotonic()
