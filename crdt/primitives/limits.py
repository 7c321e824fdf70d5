"""All limits of the core, and assertions that they fit together.

``node/config/settings.py`` takes its defaults from here. Sizes are in bytes, times in seconds or
milliseconds as the name says, other numbers are counts. Source: protocol §4, §7, §14.
"""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# --- records -----------------------------------------------------------------------------------
SIGNATURE_BYTES: Final = 64
KEY_BYTES: Final = 32
HASH_BYTES: Final = 32
RECORD_BYTES_MAX: Final = 16 * KIB
"""Signature and body together."""
BODY_BYTES_MAX: Final = RECORD_BYTES_MAX - SIGNATURE_BYTES
NESTING_MAX: Final = 32
"""Depth of a body's JSON; the body itself is 1."""
INTEGER_MAX: Final = 2**53 - 1
CLOCK_MAX: Final = 2**31 - 1
"""The highest clock; the next clock of a feed may be one past it."""
INCARNATION_MAX: Final = 2**32 - 1
CLIENT_ID_BITS: Final = 53
STAMP_COUNTER_MAX: Final = 2**16 - 1

# --- time --------------------------------------------------------------------------------------
STAMP_AHEAD_MS_MAX: Final = 5 * 60 * 1000
"""A record stamped further ahead of our clock than this stays pending."""
STAMP_LEEWAY_MS: Final = 1000
"""How much further ahead our own records and those on disk may be stamped, so that we can still
write after a record that is stamped as far ahead as allowed."""
LATE_MS: Final = 5 * 60 * 1000
CLOCK_SKEW_MS_MAX: Final = 5 * 60 * 1000
"""A node refuses to write if its clock differs more than this from the median of its peers."""
CLAIM_MS_MAX: Final = 60 * 60 * 1000
ACK_AFTER_SECONDS: Final = 60.0
SEAL_QUIET_SECONDS: Final = 1.0
REBUILD_SECONDS_MIN: Final = 1.0
"""The shortest time between two rebuilds of the document."""
ANTI_ENTROPY_SECONDS: Final = 30.0
ANTI_ENTROPY_BACKOFF_SECONDS_MAX: Final = 3600.0
EVIDENCE_DELAY_SECONDS_MAX: Final = 5.0
WRITE_AGAIN_SECONDS: Final = 5.0
"""From finding that own records no longer count to reissuing them: peers may send more first."""
WRITE_AGAIN_PER_TICK_MAX: Final = 32
NEW_KEYS_BURST: Final = 3
"""New keys that one node may take at once."""
NEW_KEYS_PER_SECOND: Final = 1 / 3600
"""And after that."""
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
"""An update from a peer."""
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
"""Both bodies in hex, and the fields around them."""

# --- pending, void and rejected records --------------------------------------------------------
PENDING_PER_AUTHOR_MAX: Final = 1_000
PENDING_MAX: Final = 10_000
STRANGERS_PER_AUTHOR_MAX: Final = 250
STRANGERS_MAX: Final = 1_000
"""Pending records of keys that are not on the roster: anyone can make such keys."""
VOID_PER_AUTHOR_MAX: Final = 1_000
VOID_MAX: Final = 10_000
WAITING_BYTES_PER_AUTHOR_MAX: Final = 4 * MIB
WAITING_BYTES_MAX: Final = 32 * MIB
"""For pending records, and the same again for void records."""
REJECTED_PER_AUTHOR_MAX: Final = 250
REJECTED_MAX: Final = 10_000
REJECTED_BYTES_MAX: Final = 16 * MIB
"""Rejected records kept in memory, to be judged again."""
QUARANTINE_ROWS_MAX: Final = 10_000
QUARANTINE_BYTES_MAX: Final = 32 * MIB
QUARANTINE_ROWS_OF_ONE_MAX: Final = 1000
QUARANTINE_BYTES_OF_ONE_MAX: Final = 4 * MIB
"""For records signed by one author, or unsigned bytes brought by one peer."""
AUTHOR_RECORDS_BURST: Final = 200_000
"""New records accepted from one author at once; the history of a whole fleet fits."""
AUTHOR_RECORDS_PER_SECOND: Final = 500.0
"""After that. A record that does not fit gets no verdict; anti-entropy brings it again."""
STORY_EVENTS_BURST: Final = 1_000
"""Events and acks of one story accepted from one author at once: each may affect all the others.
No story of an honest fleet has so many."""
STORY_EVENTS_PER_SECOND: Final = 2.0
STATEMENTS_BURST: Final = 5_000
"""Roster records accepted from one author at once (the founder is exempt): each makes the roster be
computed again. Expensive ones count several times."""
STATEMENTS_PER_SECOND: Final = 1 / 10
STATEMENT_STEPS: Final = 250
"""A revocation counts once more for each ``STATEMENT_STEPS`` steps: ten for each admission that it
names and each incarnation that it keeps, and one for each pair of the two."""
AUTHOR_FEEDS_BURST: Final = 1_000
"""New feeds, and proven forks, accepted from one author at once: each costs every node some
kilobytes for ever. An honest node opens one only after a start with a doubtful store."""
AUTHOR_FEEDS_PER_SECOND: Final = 1 / 60
ACCUSATIONS_BURST: Final = 500
"""Fork proofs that a node writes at once; after that as fast as new feeds are accepted, so that
others accept all that an honest node writes."""
ACCUSATIONS_PER_TICK_MAX: Final = 32
ACKS_PER_TICK_MAX: Final = 32
ENDS_PER_TICK_MAX: Final = 500
"""Changed stories that one tick checks for a due ack."""

LOSSES_TOLD_MAX: Final = 100
"""Lost events of one story reported at once; the story itself lists all of them."""

# --- links -------------------------------------------------------------------------------------
LINKS_MAX: Final = 256
LINKS_BEFORE_HELLO_MAX: Final = 16
OUTBOX_MESSAGES_MAX: Final = 1_024
OUTBOX_BYTES_MAX: Final = 16 * MIB
PART_FRAMES_MAX: Final = 64
"""Frames in one part sent to a peer, with at most ``UPDATE_BYTES_MAX`` bytes; the next part follows
when these have been sent."""
OWED_MAX: Final = 16 * RANGES_PER_FRAME_MAX
"""Queued answers for one peer, in ranges and feeds. More are dropped; the next comparison finds
them again."""
QUESTION_WEIGHT: Final = 16
"""The cost of a queued question, besides its ranges."""
COMPARED_AT_ONCE_MAX: Final = 256
"""Differing feeds compared at once; the others follow after ``COMPARE_ON_SECONDS``."""
COMPARE_ON_SECONDS: Final = 2.0
TURN_BYTES_MAX: Final = CATCHUP_BYTES_MAX
"""The longest answers made in one batch; the next batch makes the rest."""
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
# The most expensive revocation that fits into a record fits into the bucket: half of it names
# admissions in hex, the other half incarnations of at least six bytes each.
assert BODY_BYTES_MAX**2 / (4 * 2 * HASH_BYTES * 6) + 10 * BODY_BYTES_MAX / 6 < (
    STATEMENT_STEPS * STATEMENTS_BURST
)
# A presence is JSON text inside JSON text, so escapes may double its length.
assert 2 * PRESENCE_BYTES_MAX * AWARENESS_ENTRIES_MAX < FRAME_BYTES_MAX
assert PRESENCE_SECONDS < ALIVE_SECONDS < SUSPECT_SECONDS
assert LINKS_BEFORE_HELLO_MAX < LINKS_MAX
