"""A token bucket."""

from crdt.bucket import Bucket


def test_a_bucket_gives_what_is_in_it_and_fills_again():
    bucket = Bucket(2, 1.0, 0.0)
    assert [bucket.take(0.0) for _ in range(3)] == [True, True, False]
    assert not bucket.full(0.5)
    assert bucket.take(1.0)
    assert bucket.full(100.0)
    assert not bucket.take(100.0, 3)
