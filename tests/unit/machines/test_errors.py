import pickle

import pytest

from machines.errors import InvalidValue


def test_invalid_value_names_type_and_rule():
    fault = InvalidValue("a story", "1 to 128 letters")
    assert str(fault) == "a story: 1 to 128 letters"
    assert (fault.what, fault.rule) == ("a story", "1 to 128 letters")


def test_invalid_value_is_a_value_error():
    with pytest.raises(ValueError, match="a commit: hex"):
        raise InvalidValue("a commit", "hex")


def test_state_round_trip():
    fault = pickle.loads(pickle.dumps(InvalidValue("a commit", "hex")))
    assert str(fault) == "a commit: hex"
    assert repr(fault) == "InvalidValue('a commit', 'hex')"
