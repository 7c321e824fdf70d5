import pickle

import pytest

from machines.errors import InvalidValue


def test_an_invalid_value_names_what_it_is_and_the_rule_it_breaks():
    fault = InvalidValue("a story", "1 to 128 letters")
    assert str(fault) == "a story: 1 to 128 letters"
    assert (fault.what, fault.rule) == ("a story", "1 to 128 letters")


def test_whoever_catches_value_errors_catches_it():
    with pytest.raises(ValueError, match="a commit: hex"):
        raise InvalidValue("a commit", "hex")


def test_it_says_the_same_after_it_was_written_down_and_read_back():
    fault = pickle.loads(pickle.dumps(InvalidValue("a commit", "hex")))
    assert str(fault) == "a commit: hex"
    assert repr(fault) == "InvalidValue('a commit', 'hex')"
