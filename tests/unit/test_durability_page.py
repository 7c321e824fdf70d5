"""Every test that the page of promises names is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.findall(
    r"`(tests/[a-z_/]+\.py)::(test_\w+)`", (ROOT / "docs" / "durability.md").read_text()
)


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_promise_names_a_test_that_is_there(path, name):
    assert re.search(rf"^(?:async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE)


def test_every_promise_names_one():
    page = (ROOT / "docs" / "durability.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 12
    assert all("::test_" in row for row in rows)
