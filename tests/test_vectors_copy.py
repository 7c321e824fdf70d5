"""The vectors are a copy, byte for byte, of what was made outside the project."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent / "vectors"
THERE = Path(__file__).parents[2] / "shared" / "conformance"


@pytest.mark.skipif(not THERE.is_dir(), reason="the originals do not lie beside this checkout")
def test_the_vectors_are_unchanged():
    ours = {path.name: path.read_bytes() for path in HERE.iterdir()}
    theirs = {path.name: path.read_bytes() for path in THERE.iterdir()}
    assert ours == theirs
