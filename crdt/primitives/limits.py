"""Every bound of the core in one file, asserted against each other.

Stands beside the whole line: each stage reads its bounds here, and ``node/config/settings.py``
takes its defaults from here. Sizes are bytes, times are seconds or milliseconds as the name says,
counts are plain. Source: protocol §4, §7, §14.
"""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# --- records -----------------------------------------------------------------------------------
SIGNATURE_BYTES: Final = 64
KEY_BYTES: Final = 32
HASH_BYTES: Final = 32
RECORD_BYTES_MAX: Final = 16 * KIB
"""A value: signature and body together."""
BODY_BYTES_MAX: Final = RECORD_BYTES_MAX - SIGNATURE_BYTES
NESTING_MAX: Final = 32
"""Depth of a body's JSON; the body itself is 1."""
INTEGER_MAX: Final = 2**53 - 1
CLOCK_MAX: Final = 2**31 - 1
"""The highest clock; a feed's next clock may be one past it."""
INCARNATION_MAX: Final = 2**32 - 1
CLIENT_ID_BITS: Final = 53
STAMP_COUNTER_MAX: Final = 2**16 - 1

# --- time --------------------------------------------------------------------------------------
STAMP_AHEAD_MS_MAX: Final = 5 * 60 * 1000
"""A record stamped further ahead of the own clock than this waits."""
STAMP_LEEWAY_MS: Final = 1000
"""An own record, and one on disk, may be stamped this much further ahead: what others stamp as far
ahead as they may can then still be followed, whatever they count up to within it."""
LATE_MS: Final = 5 * 60 * 1000
CLOCK_SKEW_MS_MAX: Final = 5 * 60 * 1000
"""Further from the median of its peers' clocks than this, a node refuses to write."""
CLAIM_MS_MAX: Final = 60 * 60 * 1000
ACK_AFTER_SECONDS: Final = 60.0
SEAL_QUIET_SECONDS: Final = 1.0
REBUILD_SECONDS_MIN: Final = 1.0
"""The document is built anew at most this often."""
ANTI_ENTROPY_SECONDS: Final = 30.0
ANTI_ENTROPY_BACKOFF_SECONDS_MAX: Final = 3600.0
EVIDENCE_DELAY_SECONDS_MAX: Final = 5.0
WRITE_AGAIN_SECONDS: Final = 5.0
"""Between seeing that own records count nowhere and writing them again: peers may know more."""
WRITE_AGAIN_PER_TICK_MAX: Final = 32
NEW_KEYS_BURST: Final = 3
"""So often a node may take a new key at once."""
NEW_KEYS_PER_SECOND: Final = 1 / 3600
"""And so often after that."""
HELLO_SECONDS_MAX: Final = 5.0

# --- presence ----------------------------------------------------------------------------------
PRESENCE_SECONDS: Final = 15.0
PRESENCE_BYTES_MAX: Final = 4 * KIB
PRESENCE_PER_SECOND_MAX: Final = 2
PRESENCE_AGE_MS_MAX: Final = 150_000
ALIVE_SECONDS: Final = 45.0
SUSPECT_SECONDS: Final = 150.0
HEARTBEAT_DURABLE_SECONDS: Final = 300.0

# --- updates and frames ------------------------------------------------------------------------
UPDATE_BYTES_MAX: Final = 1 * MIB
"""An update as it arrives."""
CATCHUP_BYTES_MAX: Final = 4 * MIB
"""One part of a catch-up."""
FRAME_OVERHEAD_BYTES: Final = 64
FRAME_BYTES_MAX: Final = CATCHUP_BYTES_MAX + FRAME_OVERHEAD_BYTES
FEEDS_PER_FRAME_MAX: Final = 4096
RANGES_PER_FRAME_MAX: Final = 1024
RECORDS_PER_FRAME_MAX: Final = 4096
AWARENESS_ENTRIES_MAX: Final = 256
RANGE_LEAF: Final = 32
"""Anti-entropy stops halving a range of clocks that holds no more live records than this."""

EVIDENCE_FILE_BYTES_MAX: Final = 4 * BODY_BYTES_MAX + KIB
"""Both bodies in hex, and what stands around them."""

# --- what waits --------------------------------------------------------------------------------
PENDING_PER_AUTHOR_MAX: Final = 1_000
PENDING_MAX: Final = 10_000
STRANGERS_PER_AUTHOR_MAX: Final = 250
STRANGERS_MAX: Final = 1_000
"""Pending records of keys that are on no roster: anybody can make such keys."""
VOID_PER_AUTHOR_MAX: Final = 1_000
VOID_MAX: Final = 10_000
WAITING_BYTES_PER_AUTHOR_MAX: Final = 4 * MIB
WAITING_BYTES_MAX: Final = 32 * MIB
"""Of what is pending, and once more of what is void."""
REJECTED_PER_AUTHOR_MAX: Final = 250
REJECTED_MAX: Final = 10_000
REJECTED_BYTES_MAX: Final = 16 * MIB
"""Rejected records remembered in memory, so that they can be judged again."""
QUARANTINE_ROWS_MAX: Final = 10_000
QUARANTINE_BYTES_MAX: Final = 32 * MIB
QUARANTINE_ROWS_OF_ONE_MAX: Final = 1000
QUARANTINE_BYTES_OF_ONE_MAX: Final = 4 * MIB
"""Of what one author signed, or one peer brought that nobody may have signed."""
AUTHOR_RECORDS_BURST: Final = 200_000
"""New records of one author that are taken at once; a whole fleet's history fits."""
AUTHOR_RECORDS_PER_SECOND: Final = 500.0
"""And a second after that. What does not fit has no verdict, and comes back by anti-entropy."""
STORY_EVENTS_BURST: Final = 1_000
"""Events and acks of one story that are taken of one author at once: each may move all the others.
No story of an honest fleet has so many."""
STORY_EVENTS_PER_SECOND: Final = 2.0
STATEMENTS_BURST: Final = 5_000
"""Words about the roster that are taken of one author at once, but of the founder: each makes the
roster anew. A dear one counts as many."""
STATEMENTS_PER_SECOND: Final = 1 / 10
STATEMENT_STEPS: Final = 250
"""A revocation counts once more for so many steps: ten for each admission that it names and each
incarnation that it keeps, and one for each pair of them, which are held against each other."""
AUTHOR_FEEDS_BURST: Final = 1_000
"""New feeds, and proven forks, of one author that are taken at once: each costs every node some
kilobytes for ever. An honest node opens one after a start at which it must doubt its store."""
AUTHOR_FEEDS_PER_SECOND: Final = 1 / 60
ACCUSATIONS_BURST: Final = 500
"""Proofs that a node writes down at once, a few a tick; after that as fast as feeds are taken, so
that others take all that an honest node writes."""
ACCUSATIONS_PER_TICK_MAX: Final = 32
ACKS_PER_TICK_MAX: Final = 32
ENDS_PER_TICK_MAX: Final = 500
"""Stories that changed, of which a tick sees whether an ack of their end is due."""

LOSSES_TOLD_MAX: Final = 100
"""Events of one story that are told to have lost at once; the story shows all of them."""

# --- links -------------------------------------------------------------------------------------
LINKS_MAX: Final = 256
LINKS_BEFORE_HELLO_MAX: Final = 16
OUTBOX_MESSAGES_MAX: Final = 1_024
OUTBOX_BYTES_MAX: Final = 16 * MIB
PART_FRAMES_MAX: Final = 64
"""Frames that a peer is sent at once, and no more than ``UPDATE_BYTES_MAX`` of them; what else it
is to be sent comes once these have left."""
OWED_MAX: Final = 16 * RANGES_PER_FRAME_MAX
"""Ranges and feeds that a peer asked about, or is to be told of, and that were not sent yet. What
is more is forgotten, and found again by the next comparison."""
QUESTION_WEIGHT: Final = 16
"""What a question weighs beside its ranges."""
COMPARED_AT_ONCE_MAX: Final = 256
"""Feeds that differ are compared so many at once, the others after ``COMPARE_ON_SECONDS``."""
COMPARE_ON_SECONDS: Final = 2.0
TURN_BYTES_MAX: Final = CATCHUP_BYTES_MAX
"""When the answers made in one turn are this long, the next one answers the rest."""
HELLO_BYTES_MAX: Final = 64 * KIB

assert BODY_BYTES_MAX > 0
assert 0 < STAMP_LEEWAY_MS < STAMP_AHEAD_MS_MAX
assert RECORD_BYTES_MAX < UPDATE_BYTES_MAX < CATCHUP_BYTES_MAX
assert FRAME_BYTES_MAX >= CATCHUP_BYTES_MAX + FRAME_OVERHEAD_BYTES
assert OUTBOX_BYTES_MAX >= 2 * FRAME_BYTES_MAX
assert 4 * PART_FRAMES_MAX <= OUTBOX_MESSAGES_MAX
assert COMPARED_AT_ONCE_MAX * (QUESTION_WEIGHT + 1) <= OWED_MAX
assert RANGES_PER_FRAME_MAX + QUESTION_WEIGHT <= OWED_MAX
assert COMPARE_ON_SECONDS < ANTI_ENTROPY_SECONDS
assert PENDING_PER_AUTHOR_MAX <= PENDING_MAX
assert STRANGERS_PER_AUTHOR_MAX <= STRANGERS_MAX <= PENDING_MAX
assert VOID_PER_AUTHOR_MAX <= VOID_MAX
assert REJECTED_PER_AUTHOR_MAX <= REJECTED_MAX
assert REJECTED_PER_AUTHOR_MAX * RECORD_BYTES_MAX <= REJECTED_BYTES_MAX / 4
assert RECORD_BYTES_MAX <= WAITING_BYTES_PER_AUTHOR_MAX <= WAITING_BYTES_MAX
assert min(REJECTED_BYTES_MAX, QUARANTINE_BYTES_MAX) >= RECORD_BYTES_MAX
assert RECORD_BYTES_MAX <= QUARANTINE_BYTES_OF_ONE_MAX <= QUARANTINE_BYTES_MAX
assert QUARANTINE_ROWS_OF_ONE_MAX <= QUARANTINE_ROWS_MAX
assert 2 * ACCUSATIONS_BURST <= AUTHOR_FEEDS_BURST
assert max(AUTHOR_FEEDS_BURST, STORY_EVENTS_BURST, STATEMENTS_BURST) <= AUTHOR_RECORDS_BURST
# The dearest revocation that fits into a record fits into the bucket: half of it names admissions,
# in hex, the other half incarnations, of which one takes no less than six bytes.
assert BODY_BYTES_MAX**2 / (4 * 2 * HASH_BYTES * 6) + 10 * BODY_BYTES_MAX / 6 < (
    STATEMENT_STEPS * STATEMENTS_BURST
)
# A presence rides as JSON text within JSON text, so that it may come to be twice as long.
assert 2 * PRESENCE_BYTES_MAX * AWARENESS_ENTRIES_MAX < FRAME_BYTES_MAX
assert PRESENCE_SECONDS < ALIVE_SECONDS < SUSPECT_SECONDS
assert LINKS_BEFORE_HELLO_MAX < LINKS_MAX
