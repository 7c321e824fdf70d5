import gc
import weakref

import pytest

from node import garbage


@pytest.fixture(autouse=True)
def as_it_was():
    yield
    gc.unfreeze()
    gc.enable()


def test_the_collector_is_back_whatever_happened():
    def fail():
        assert not gc.isenabled()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), garbage.not_looking():
        fail()
    assert gc.isenabled()


def test_who_had_switched_it_off_finds_it_off():
    gc.disable()
    with garbage.not_looking():
        pass
    assert not gc.isenabled()


def test_what_was_left_alone_is_looked_at_again_before_more_is():
    class Ring:
        pass

    ring = Ring()
    ring.me = ring
    seen = weakref.ref(ring)
    garbage.leave_alone()
    assert gc.get_freeze_count()
    del ring
    gc.collect()
    assert seen() is not None
    garbage.leave_alone()
    assert seen() is None
