from crdt.primitives.hlc import Stamp
from crdt.views.view_types import ClaimView
from machines.values import Instant
from tests.support.builders.cluster import START, key

SINCE = Stamp(START, 0)


def at(seconds):
    return Instant.from_ms(START.ms + seconds * 1000)


def claim(*, released=False, until=None):
    return ClaimView(key(1).pubkey, released, SINCE, until, SINCE)


def test_claim_is_valid_until_its_end():
    held = claim(until=at(60))
    assert held.stands(at(0))
    assert held.stands(at(60))
    assert not held.stands(at(61))


def test_released_or_endless_claim_is_not_valid():
    assert not claim(released=True, until=at(60)).stands(at(0))
    assert not claim().stands(at(0))
