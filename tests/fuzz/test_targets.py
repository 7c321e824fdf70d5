"""Every parser takes or refuses: the kept corpus, and what Hypothesis makes of it.

The same targets as ``make fuzz``, which goes on where this stops.
"""

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.fuzz.targets import CORPUS, TARGETS, kept

BOMBS = [
    b"", b"[" * 3000, b'{"a":' * 1500, b'{"type":' + b"[" * 3000, b'{"event":{"event":[1]}}',
    b"\xff" * 64, b"\x80" * 64, b"\x00\x02\x7f" + b"\xff" * 9, b'{"seconds":' + b"9" * 5000 + b"}",
    b'{"title":"\\ud800"}', b'{"title":1e400}', b"\xed\xa0\x80", b"gangline1-" + b"a" * 2000,
]  # fmt: skip


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_kept_and_what_is_known_to_break_parsers_breaks_none(name):
    inputs = kept(name)
    assert inputs
    for data in (*inputs, *BOMBS):
        TARGETS[name](data)


def test_the_corpus_is_small_and_belongs_to_targets():
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < 2**20


@st.composite
def spoilt(draw, seeds):
    """A good input, changed where a parser might not look: cut, repeated, replaced, joined."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, len(data)))
        piece = draw(
            st.binary(max_size=12)
            | st.sampled_from([*BOMBS[:6], data[start:end] * 3])
            | st.sampled_from(seeds)
        )
        data = data[:start] + piece + data[end:]
    return data


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_at_all_are_taken_or_refused(name):
    seeds = kept(name)

    @given(spoilt(seeds) | st.binary(max_size=300))
    @example(b"")
    @settings(max_examples=200, suppress_health_check=list(HealthCheck))
    def any_bytes(data):
        TARGETS[name](data)

    any_bytes()
