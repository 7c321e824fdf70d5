"""A token bucket."""

from crdt.primitives.token_bucket import TokenBucket


def test_a_bucket_gives_what_is_in_it_and_fills_again():
    bucket = TokenBucket(2, 1.0, 0.0)
    assert [bucket.take(0.0) for _ in range(3)] == [True, True, False]
    assert not bucket.full(0.5)
    assert bucket.take(1.0)
    assert bucket.full(100.0)
    assert not bucket.take(100.0, 3)


def test_returned_tokens_never_exceed_the_burst():
    bucket = TokenBucket(2, 1.0, 0.0)
    assert bucket.take(0.0, 2)
    bucket.give_back()
    assert [bucket.take(0.0) for _ in range(2)] == [True, False]
    for _ in range(5):
        bucket.give_back()
    assert bucket.full(0.0)
    assert not bucket.take(0.0, 3)
