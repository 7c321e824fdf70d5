"""The laws of a simulated cluster, checked from outside the nodes.

What can be read off one ledger stands in ``tests/support/invariants/laws.py``, for every harness.
Each check raises ``Broken`` with the law's number and what was seen. Numbers as in docs/testing.md.
"""

from collections import Counter, defaultdict
from math import inf

from crdt.authoring.reissue import own_void_records
from crdt.contract.ready import Noticed
from crdt.ledger.feed import EntryStatus
from crdt.ledger.ingest import locate_slices
from crdt.ledger.reference_index import referenced_by
from crdt.primitives import limits
from crdt.primitives.identity import FeedId
from crdt.records.bodies import Role, Statement, parse_body
from crdt.records.record import signed_bytes_and_id, signed_record
from crdt.records.signatures import verify_batch
from crdt.sync import anti_entropy
from crdt.sync.yjs_document import Document
from crdt.wire.messages import Records, SyncStep2, Update, decode_frame
from crdt.wire.yjs_update import decode_update
from machines.values import Instant
from tests.support.builders.cluster import START, check_document, shown
from tests.support.invariants import laws
from tests.support.invariants.laws import Broken
from tests.support.oracles.naive_roster import RememberedRoster
from tests.support.simulation.members import ticket_of

BYTES_FOR_A_RUN = 32
BYTES_FOR_A_FEED = 128
PROMPT_MS = 12_000


def records_in(data, cluster, by_client):
    """The records that a frame carries, by position."""
    frame = decode_frame(data)
    if isinstance(frame, Records):
        feed = FeedId(frame.author, frame.incarnation)
        return [signed_record(feed, clock, value) for clock, value in frame.records]
    if isinstance(frame, SyncStep2 | Update):
        slices = decode_update(frame.update, bytes_max=limits.CATCHUP_BYTES_MAX)
        return locate_slices(slices, cluster, by_client).records
    return []


class Laws:
    """The checkers of one run, and how often each looked."""

    def __init__(self):
        self.looked = Counter()
        self._slots = {}
        self._last_said = {}
        self._keys = {}
        self._verified = set()
        self._began = {}
        self._rows, self._taken = {}, defaultdict(Counter)
        self._acked = []
        self._seen = set()
        self._on_all = set()
        self._rosters = {}
        self._words = set()
        self._dealt = set()

    # --- at every step ---------------------------------------------------------------------

    def committing(self, node, persist):
        """L15: the own next clock on disk never falls while its key and incarnation stay."""
        before, after = node.disk.own_end, persist.own_end
        if not node.honest or None in (before, after) or before[:2] != after[:2]:
            return
        self.looked["L15"] += 1
        if after.clock < before.clock:
            at = f"{after.incarnation}/{after.clock}"
            raise Broken("L15", f"{node} notes {at} as its next clock, after {before.clock}")

    def committed(self, world, node, persist):
        """L5: what an honest node has put on disk of its own takes no slot twice."""
        if not node.honest:
            return
        self.looked["L5"] += 1
        self._dealt.update(persist.reissue_done)
        for key, row in persist.rows.items():
            if row is not None:
                body = parse_body(row.value[limits.SIGNATURE_BYTES :])
                key_of = None if body.key is None else (str(body.kind), str(body.key))
                self._keys[key.record_id] = key_of
                if isinstance(body, Statement):
                    self._words.add(key.record_id)
                said = (FeedId(key.author, key.incarnation), key_of)
                self._last_said[said] = max(key.clock, self._last_said.get(said, -1))
            if row is not None and key.author == node.pub and node.pub not in world.forks:
                self._use(node, key.incarnation, key.clock, key.record_id)
        self._kept(world, node, persist)
        self._shares(world, node, persist)

    def _kept(self, world, node, persist):
        """L15: no row of an honest author leaves a disk but for a later one with its key."""
        self.looked["L15"] += 1
        disk = node.disk
        for ref in persist.rows:
            if tuple(ref) in disk.rows or tuple(ref) not in disk.taken:
                continue
            owner = world.owners.get(ref.author)
            if owner is None or not world.nodes[owner].honest:
                continue
            if ref.author == node.pub and ref.record_id in disk.reissue_done:
                continue  # it was stamped ahead, and its author wrote it again or reported it
            key = self._keys[ref.record_id]
            if key is None or not any(
                row[:2] == ref[:2] and row[2] > ref.clock and self._keys[row[3]] == key
                for row in disk.rows
            ):
                where = f"{ref.incarnation}/{ref.clock} of n{owner}"
                raise Broken("L15", f"{node} deleted {where}, which nothing supersedes")

    def begun(self, world, node, replica):
        """L15: a feed is gone on in behind everything that its disk ever had of it."""
        if not node.honest or replica.doubt:
            return
        self.looked["L15"] += 1
        own = node.pub, replica.incarnation
        end = max((clock for *feed, clock, _ in node.disk.taken if tuple(feed) == own), default=-1)
        if replica._own_feed().next_clock <= end:
            at = f"{replica.incarnation}/{replica._own_feed().next_clock}"
            raise Broken("L15", f"{node} goes on at {at}, and its disk once had {end}")

    def sent(self, world, node, data):
        """L5: an own record is on disk before anybody else sees it."""
        if not node.honest:
            return
        for signed in records_in(data, world.found.id, node.replica.document.by_client):
            if signed.feed.author == node.pub:
                _, record_id = signed_bytes_and_id(world.found.id, signed)
                stored = (*signed.feed, signed.clock, record_id) in node.disk.rows
                if not stored and not self._is_passed(node, signed):
                    where = f"{signed.feed.incarnation}/{signed.clock}"
                    raise Broken("L5", f"{node} sent {where}, which is not on its disk")
                self._seen.add((*signed.feed, signed.clock))
                if node.pub not in world.forks:
                    self._use(node, signed.feed.incarnation, signed.clock, record_id)

    @staticmethod
    def _is_passed(node, signed):
        """Superseded in the same turn: its slot is on disk as an empty one, or below others."""
        return node.disk.rendered.get(signed.feed, 0) > signed.clock or any(
            row[:2] == signed.feed and row[2] > signed.clock for row in node.disk.rows
        )

    def forget(self, node, rows):
        """What is gone from a disk before anybody saw it."""
        for author, incarnation, clock, _ in rows:
            slot = (author, incarnation, clock)
            if author == node.pub and slot not in self._seen:
                self._slots.pop(slot, None)

    def _use(self, node, incarnation, clock, record_id):
        if self._slots.setdefault((node.pub, incarnation, clock), record_id) != record_id:
            raise Broken("L5", f"{node} used {incarnation}/{clock} twice")

    def built(self, world, node):
        """A new replica begins, with full buckets."""
        self._began[node.number, node.builds] = world.t
        self._rows[node.number, node.builds] = set(node.disk.rows)

    def acknowledged(self, world, node, receipt):
        """L9: nobody writes by a roster of which it knows nothing."""
        self._acked.append((world.t, receipt))
        if node.honest and tuple(world.found.record.ref) not in node.disk.rows:
            raise Broken("L9", f"{node} wrote, and holds nothing of its cluster")

    def _shares(self, world, node, persist):
        """L14: of one author so much is taken and no more; a new replica has full buckets."""
        build = node.number, node.builds
        began = self._began[build]
        rows, taken = self._rows[build], self._taken[build]
        for key, row in persist.rows.items():
            # One that an admission or a revocation moved off the disk and back is taken once.
            if row is not None and key.author not in node.keys and key not in rows:
                rows.add(key)
                taken[key.author] += 1
        self.looked["L14"] += 1
        seconds = (world.t - began) / 1000 + 1
        most = limits.AUTHOR_RECORDS_BURST + limits.AUTHOR_RECORDS_PER_SECOND * seconds
        for author, many in taken.items():
            if many > most:
                raise Broken("L14", f"{node} took {many} records of {author.short}, over {most}")

    def noticed(self, world, node, event):
        """L12: of two daemons with one key both are told, and nobody ever is without cause.

        L14: where nothing goes wrong but floods, nobody is told that an honest author floods.
        """
        if not isinstance(event, Noticed) or event.what not in ("twin", "flood"):
            return
        if event.what == "flood":
            if world.plan.calm and event.node in {one.pub for one in world.honest()}:
                raise Broken("L14", f"{node} is told of an honest author: {event.detail}")
            return
        self.looked["L12"] += 1
        key = event.node
        owner = world.owners[key]
        if node.honest and world.nodes[owner].honest and owner not in world.twinned():
            raise Broken("L12", f"{node} takes n{owner} for two: {event.detail}")
        if key == node.pub:
            world.counts["a twin was noticed"] += 1

    def refused(self, node, refusal):
        """L9: what a node may write by its rules, its own gate lets through."""
        self.looked["L9"] += 1
        if node.honest and "gate would not admit" in str(refusal):
            raise Broken("L9", f"{node} made a record that it would not take itself: {refusal}")

    # --- every few seconds -----------------------------------------------------------------

    def anytime(self, world):
        honest = {pub for n in world.nodes if n.honest for pub in n.keys} - world.forks
        for node in world.honest():
            ledger = node.replica.ledger
            self._signatures(world, node)
            self.looked.update(("L4", "L6", "L7", "L11"))
            laws.bounds(node, ledger)
            laws.no_honest_cut(node, ledger, honest)
            laws.legal_paths(node, ledger)
            laws.cuts(node, ledger)
            self._standing(world, node)
            laws.one_for_each_key(node, ledger)
            laws.seals(node, ledger)
            self._roster(world, node)
            self._sessions(node)
        if world.plan.calm:
            self._prompt(world)

    def _standing(self, world, node):
        naive = self._naive(world, node)
        if naive is not None:
            laws.standing(node, node.replica.ledger, naive)

    def _naive(self, world, node):
        """The naive roster as a node should have it, ``None`` where nobody can tell.

        It looks at its clock when it ticks: what became ripe since, or was ripe by a clock that
        was set since, it may count or not. A clock before the cluster was founded is none.
        """
        at, took = node.ticked
        before, now = (Instant.nearest(node.clock.at(t)) for t in (at, world.t))
        if not took or node.clock.moved > at or before < START or now.is_edge:
            return None
        ledger = node.replica.ledger
        records = laws.ripe_statements(ledger, now)
        if len(records) != len(laws.ripe_statements(ledger, before)):
            return None
        known = frozenset(record.record_id for record in records)
        if known not in self._rosters:
            self._rosters[known] = RememberedRoster(ledger.roster.founder, records)
        return self._rosters[known]

    @staticmethod
    def _sessions(node):
        """L7: what a peer says of feeds that there are not is not remembered without end."""
        for session in node.replica.sessions.all():
            if len(session.doubts) > limits.FEEDS_PER_FRAME_MAX:
                raise Broken("L7", f"{node} remembers {len(session.doubts)} feeds that differ")
            unknown = session.holding.keys() - node.replica.ledger.feeds.keys()
            if unknown:
                raise Broken("L7", f"{node} remembers what a peer holds of {len(unknown)} feeds")

    def _prompt(self, world):
        """L14: where nothing goes wrong but floods, what honest nodes write is soon everywhere."""
        honest = {node.pub for node in world.honest()}
        for at, receipt in self._acked:
            if at > world.t - PROMPT_MS or receipt.author not in honest:
                continue
            if receipt.record_id in self._on_all:
                continue
            self._on_all.add(receipt.record_id)
            self.looked["L14"] += 1
            for node in world.honest():
                if not self._accounts_for(node, receipt):
                    where = f"{receipt.author.short}/{receipt.incarnation} #{receipt.clock}"
                    raise Broken("L14", f"{node} still lacks {where} after {PROMPT_MS // 1000} s")

    def _signatures(self, world, node):
        self.looked["L3"] += 1
        fresh = [
            entry.record
            for feed in node.replica.ledger.feeds.values()
            for entry in feed.entries()
            if entry.record.value not in self._verified
        ]
        jobs = []
        for record in fresh:
            signed = signed_record(record.feed, record.clock, record.value)
            message, record_id = signed_bytes_and_id(world.found.id, signed)
            if record_id != record.record_id:
                raise Broken("L3", f"{node} holds {record!r} under another id")
            jobs.append((record.feed.author, message, record.value[:64]))
        for record, holds in zip(fresh, verify_batch(jobs), strict=True):
            if not holds:
                raise Broken("L3", f"{node} holds {record!r}, which its author did not sign")
            self._verified.add(record.value)

    def _roster(self, world, node):
        """L6: who has no right to it admits nobody, names no admin and revokes nobody."""
        plan = world.plan
        if 0 in plan.hostile:
            return
        self.looked["L6"] += 1
        roster = node.replica.ledger.roster
        for pub in roster.nodes():
            if roster.role(pub) is Role.ADMIN and world.owners.get(pub) not in world.admins:
                raise Broken("L6", f"{node} takes {pub.short} for an admin")
            if set(plan.hostile) & world.admins:
                continue
            if pub not in world.owners:
                raise Broken("L6", f"{node} has {pub.short} on its roster, whom nobody admitted")
            lacks = node.number in world.torn  # a revocation may be there, the next word not
            if pub not in world.expelled and roster.role(pub) is None and not lacks:
                raise Broken("L6", f"{node} takes {pub.short} for revoked")

    # --- after the faults ------------------------------------------------------------------

    def converged(self, world):
        """L1: gives what differs, or an empty string."""
        self.looked["L1"] += 1
        honest = world.honest()
        digests = {anti_entropy.digest_of_document(node.replica.ledger) for node in honest}
        if len(digests) > 1:
            return f"{len(digests)} document digests"
        views = {node.replica.ledger.board.canonical() for node in honest}
        if len(views) > 1:
            return f"{len(views)} views under one digest"
        texts = {shown(node.replica) for node in honest}
        if len(texts) > 1:
            return f"{len(texts)} Yjs documents under one digest"
        return (
            self._unsealed(world)
            or self._unsettled(world)
            or self._unnamed(world)
            or self._speechless(world)
            or self._twins(world)
        )

    def _speechless(self, world):
        """L9: with every clock right, who has a voice may write; unless every disk was lost."""
        founding = tuple(world.found.record.ref)
        if all(founding not in node.disk.rows for node in world.honest()):
            return ""
        for node in world.honest():
            why = node.replica.write_state(world.now(node)).why
            if why and node.roster.role(node.pub) in (Role.ADMIN, Role.MEMBER):
                return f"{node} may not write: {why}"
        return ""

    def _twins(self, world):
        """L12: both daemons with one key have said so, and their peers say it too."""
        for pair in world.twins:
            if any(one.replica is None or not one.honest for one in pair):
                continue
            pub = pair[0].pub
            if pair[1].pub != pub or not self._can_talk(world, pub):
                continue
            self.looked["L12"] += 1
            for one in pair:
                if one.replica.beacon.twins.current(world.t / 1000) is None:
                    return f"{one} has not noticed that another daemon runs with its key"
        return ""

    @staticmethod
    def _can_talk(world, pub):
        """Whether an honest node in between takes what both say of themselves."""
        others = [one for one in world.honest() if one.pub != pub]
        return any(one.roster.belongs(pub) and one.roster.belongs(one.pub) for one in others)

    def _unnamed(self, world):
        """L6: every proven fork is named, with its proof, in some feed that counts."""
        self.looked["L6"] += 1
        honest = world.honest()
        if all(node.replica.write_state(world.now(node)).why for node in honest):
            return ""
        for node in honest:
            ledger = node.replica.ledger
            for feed, proof in ledger.proofs.items():
                named = [r.body.clock for r in ledger.evidence.get(feed, ())]
                if ledger.fork_of(feed) is not None and min(named, default=inf) > proof.clock:
                    return f"nobody has written down the fork that {node} knows of {feed}"
        return ""

    def _unsettled(self, world):
        """L2: what a fork took from an honest author was handed back, and dealt with there."""
        for author in world.honest():
            if author.replica.write_state(world.now(author)).why:
                continue  # who was revoked keeps what it lost until it is admitted again
            # What its former key wrote is handed to nobody: with its disk it lost that too.
            gone = world.lost | world.twinned()
            former = author.disk.former if author.number not in gone else None
            settled = self._settled(world, author.pub)
            for node in world.honest():
                for record in own_void_records(node.replica.ledger, author.pub, former):
                    if self._said_since(record):
                        continue
                    if record.record_id not in settled:
                        return f"{author} has not dealt with {record!r}, which {node} keeps"
        return ""

    @staticmethod
    def _settled(world, pub):
        """What an author has dealt with: of two daemons with its key either may have."""
        return set().union(*(one.disk.reissue_done for one in world.nodes if one.pub == pub))

    def _said_since(self, record):
        """Whether its author put another record of the same kind and key behind this one.

        He dropped it then, and a revocation that takes the later one does not bring it back to him.
        """
        key = record.feed, (str(record.body.kind), str(record.body.key))
        return record.body.key is not None and self._last_said.get(key, -1) > record.clock

    def _unsealed(self, world):
        """L11: what an honest author sealed is held as it sealed it."""
        self.looked["L11"] += 1
        gone = [one for _, one in world.acked if one.record_id in world.excused]
        torn = {FeedId(one.author, one.incarnation) for one in gone}
        for node in world.honest():
            own = node.replica._own_feed()
            if own.id in torn:
                continue  # every disk lost a record that the seal counts: that is shown for ever
            if node.replica.doubt:
                continue  # it goes on elsewhere, and seals no more what the roster moves in here
            if node.pub in world.forks:
                continue  # a slot it used twice may have been superseded before any proof was made
            for other in world.honest():
                feed = other.replica.ledger.feeds.get(own.id)
                if own.last_seal() is not None and (feed is None or feed.as_sealed() is False):
                    return f"{other} holds the feed of {node} not as sealed"
        return ""

    def finally_(self, world):
        self.anytime(world)
        for node in world.honest():
            check_document(node.replica)
            self._bytes(node)
            fresh = Document(node.replica.ledger.feeds)
            fresh.rebuild()
        self._acknowledged(world)
        if world.plan.roster:
            self._back_again(world)
        self._on_disk(world)
        self._belonging(world)
        self._moved_over(world)

    def _belonging(self, world):
        """L13: who belongs is what the words of the protocol make of all that was said.

        And of every ticket one node came in, and whoever left by a petition is gone from then on.
        """
        for node in world.honest():
            ledger = node.replica.ledger
            naive = self._naive(world, node)
            if naive is None:
                continue
            self.looked["L13"] += 1
            for pub in {*ledger.roster.nodes(), *world.owners}:
                mine = ledger.roster.on_roster(pub), ledger.roster.role(pub)
                if mine != (naive.on_roster(pub), naive.role(pub)):
                    raise Broken("L13", f"{node} takes {pub.short} for {mine[1]}")
            for inviter in world.nodes[: world.plan.nodes]:
                secret = ticket_of(world, inviter)
                users = {
                    record.body.node
                    for record in naive.admissions
                    if record.body.ticket == secret and record.feed.author == inviter.pub
                }
                if len(users) > 1 and inviter.honest and inviter.number not in world.lost:
                    raise Broken("L13", f"the ticket of {inviter} let in {len(users)}")

    def _moved_over(self, world):
        """L13: who has a new key belongs by it alone, and what it did goes on under it."""
        for number, old, successor, by in world.parted:
            node, doer = world.nodes[number], world.nodes[by]
            if successor is None or not doer.honest or {number, by} & world.lost:
                continue
            if by != 0 and node.pub != successor.pubkey:
                continue  # another who admitted it may not have been asked yet
            self.looked["L13"] += 1
            # Another word on the old key may cross the revocation; a hostile admin says any.
            again = old in world.taken_back or set(world.plan.hostile) & world.admins
            for one in world.honest():
                if one.roster.belongs(old) and not again:
                    raise Broken("L13", f"{one} lets in the key that {node} had before")
            silent = node.roster.role(node.pub) in (None, Role.OBSERVER)
            if node.pub != successor.pubkey or silent:
                continue
            for writer, receipt in world.acked:
                kind, story = self._keys.get(receipt.record_id) or (None, None)
                if receipt.author not in node.had or kind != "execution" or writer is not node:
                    continue
                board = node.replica.ledger.board
                views = board.state(story).execution_views() if board.state(story) else ()
                if not any(view.node == node.pub for view in views):
                    raise Broken("L13", f"{node} left its execution of {story} with its old key")

    def _bytes(self, node):
        """L7: the document grows with what is live, not with what was ever written."""
        self.looked["L7"] += 1
        feeds = node.replica.ledger.feeds.values()
        live = sum(len(record.value) for feed in feeds for record in feed.live())
        runs = sum(len(feed.live()) + len(list(feed.gaps())) for feed in feeds)
        size = len(node.replica.document.doc.get_update())
        bound = live + BYTES_FOR_A_RUN * runs + BYTES_FOR_A_FEED * len(feeds)
        if size > bound:
            raise Broken("L7", f"the document of {node} has {size} bytes, over {bound}")

    def _acknowledged(self, world):
        """L2: what was acknowledged is on every honest node, or why not can be seen there."""
        self.looked["L2"] += 1
        for writer, receipt in world.acked:
            if not writer.honest or receipt.record_id in world.excused:
                continue
            if receipt.record_id in self._settled(world, writer.pub):
                continue  # its author wrote it again, or said that it does not apply
            feed = FeedId(receipt.author, receipt.incarnation)
            said = self._keys.get(receipt.record_id)
            if said is not None and self._last_said.get((feed, said), -1) > receipt.clock:
                continue  # its author said a later one, which is asked after itself
            for node in world.honest():
                if self._accounts_for(node, receipt) or self._rests(world, node, receipt):
                    continue
                where = f"{receipt.incarnation}/{receipt.clock}"
                raise Broken("L2", f"{node} lost {where} of {writer}, which was acknowledged")

    def _back_again(self, world):
        """L15: who was taken back with every slot has back all that was acknowledged to it.

        But for what it said anew since; and what has a key, in a feed of which a revocation kept a
        part, it writes again in another.
        """
        for writer, receipt in world.acked:
            if receipt.author not in {world.found.founder.pubkey, *world.reunited}:
                continue
            if receipt.record_id in world.excused | self._dealt:
                continue  # dealt with once, whatever became of the disk on which that stands
            if receipt.record_id in self._words:
                continue  # what its author may not say need not be everywhere: L2, L13
            said = self._keys.get(receipt.record_id, laws.ANY)
            if said is laws.ANY or (said is not None and self._said_later(receipt, said)):
                continue
            self.looked["L15"] += 1
            for node in world.honest():
                entry = node.replica.ledger.entry(receipt.ref)
                if self._rests(world, node, receipt):
                    continue
                where = f"{receipt.incarnation}/{receipt.clock} of {writer}"
                if entry is None:
                    raise Broken("L15", f"{node} has not got {where} back")
                if not node.replica.ledger.feeds[receipt.ref.feed].is_live(entry):
                    raise Broken("L15", f"{node} counts {where} nowhere, and it belongs again")

    def _said_later(self, receipt, said):
        """Whether its author put another record of the same kind and key behind it, or elsewhere.

        What a stamp is worth is no matter here: of one feed the later clock is the later word, and
        another feed is opened later.
        """
        mine = FeedId(receipt.author, receipt.incarnation)
        return any(
            feed.author == mine.author and key == said and (feed != mine or clock > receipt.clock)
            for (feed, key), clock in self._last_said.items()
        )

    def _accounts_for(self, node, receipt):
        key = self._keys.get(receipt.record_id, laws.ANY)
        took = tuple(receipt.ref) in node.disk.taken
        if receipt.record_id in self._words and not took:
            return True  # whether its author may say it is another law's question: L1, L13
        return laws.accounts_for(node.replica.ledger, receipt, key, took=took)

    @staticmethod
    def _rests(world, node, receipt):
        """Whether it waits, on disk, for a parent that the schedule took from every disk."""
        entry = node.replica.ledger.entry(receipt.ref)
        if entry is None or entry.verdict is not EntryStatus.WAITING:
            return False
        return referenced_by(entry.record).record_id in world.excused

    def _on_disk(self, world):
        """L8: what a node holds is what its disk holds."""
        self.looked["L8"] += 1
        for node in world.honest():
            held = {
                tuple(entry.record.ref)
                for feed in node.replica.ledger.feeds.values()
                for entry in feed.entries()
            }
            if held != set(node.disk.rows):
                odd = held ^ set(node.disk.rows)
                raise Broken("L8", f"{node}: {len(odd)} records are held or stored, not both")
