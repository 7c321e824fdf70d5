"""Every claim of the security page names a test that is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[a-z_/]+\.py)::(test_\w+)`", PAGE)))


@pytest.mark.parametrize(("path", "name"), NAMED, ids=lambda one: one.split("/")[-1])
def test_a_claim_names_a_test_that_is_there(path, name):
    assert re.search(rf"^(?:async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE)


def test_every_row_names_one():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    claims = [row for row in rows if not row.endswith("| shown by |")]
    assert len(claims) >= 50
    assert not [row for row in claims if "::test_" not in row]


def test_every_hostile_test_module_stands_on_the_page():
    modules = {path.name for path in (ROOT / "tests" / "hostile").glob("test_*.py")}
    assert modules <= {Path(path).name for path, _ in NAMED}
