from crdt.primitives.seeded_random import SeededRandom


def numbers(draw, count=200):
    return [draw.u32() for _ in range(count)]


def test_seed_determines_the_stream():
    assert numbers(SeededRandom(b"a")) == numbers(SeededRandom(b"a"))
    assert not set(numbers(SeededRandom(b"a"))) & set(numbers(SeededRandom(b"b")))


def test_numbers_fill_their_range():
    drawn = numbers(SeededRandom(b"a"))
    assert len(set(drawn)) == len(drawn)
    assert all(0 <= number < 2**32 for number in drawn)
    assert min(drawn) < 2**29 < 7 * 2**29 < max(drawn)


def test_fractions_are_in_range_and_share_the_stream():
    draw, twin = SeededRandom(b"a"), SeededRandom(b"a")
    assert [draw.fraction() for _ in range(50)] == [twin.u32() / 2**32 for _ in range(50)]
    assert 0.0 <= draw.fraction() < 1.0


def test_the_seed_is_never_shown():
    assert repr(SeededRandom(b"secret")) == "SeededRandom(***)"
