import pytest

from node.config import key_file
from node.system.errors import OperatorError


def test_a_key_is_written_once_and_read_back(tmp_path):
    path = tmp_path / "node.key"
    made = key_file.generate(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert key_file.load(path).pubkey == made.pubkey
    with pytest.raises(OperatorError, match="exists already"):
        key_file.generate(path)
    assert made.seed().hex() not in repr(made)


@pytest.mark.parametrize("text", ["", "nonsense\n", "gangline-ed25519-seed-1\n00\n", "x" * 500])
def test_a_damaged_key_file_is_refused(tmp_path, text):
    path = tmp_path / "node.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(OperatorError, match="damaged"):
        key_file.load(path)


def test_no_key_says_how_to_make_one(tmp_path):
    with pytest.raises(OperatorError, match="gangline init"):
        key_file.load(tmp_path / "node.key")
