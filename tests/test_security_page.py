"""docs/security.md: what it says is tested has a test."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/security.md").read_text()


def test_every_threat_names_tests_that_exist() -> None:
    """Each row of the table, and each file that its last column names."""
    table = PAGE.split("## Threats")[1].split("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert rows
    for row in rows:
        named = re.findall(r"`(tests/[^`]+)`", row.strip(" |").split("|")[-1])
        assert named, row
        missing = [one for one in named if not (ROOT / one).is_file()]
        assert not missing, f"docs/security.md names {missing}, which do not exist: {row}"


def test_the_policy_points_to_the_page() -> None:
    """SECURITY.md is what people open first."""
    assert "(docs/security.md)" in (ROOT / "SECURITY.md").read_text()
