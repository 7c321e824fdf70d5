from crdt.primitives import limits


def test_the_limits_are_those_that_the_protocol_states():
    # protocol §4, §7, §14: every node must draw the same lines, or verdicts differ.
    assert limits.RECORD_BYTES_MAX == 16 * 1024
    assert limits.UPDATE_BYTES_MAX == 1024**2
    assert limits.CATCHUP_BYTES_MAX == 4 * 1024**2
    assert limits.NESTING_MAX == 32
    assert limits.CLOCK_MAX == 2**31 - 1
    assert limits.STAMP_COUNTER_MAX == 2**16 - 1
    assert limits.STAMP_AHEAD_MS_MAX == limits.LATE_MS == limits.CLOCK_SKEW_MS_MAX == 300_000
    assert limits.CLAIM_MS_MAX == 3_600_000
    assert (limits.PENDING_PER_AUTHOR_MAX, limits.PENDING_MAX) == (1_000, 10_000)
    assert (limits.LINKS_MAX, limits.LINKS_BEFORE_HELLO_MAX) == (256, 16)


def test_a_frame_that_a_link_may_carry_fits_its_outbox():
    assert limits.FRAME_BYTES_MAX < limits.OUTBOX_BYTES_MAX
    assert limits.RECORD_BYTES_MAX == limits.SIGNATURE_BYTES + limits.BODY_BYTES_MAX
