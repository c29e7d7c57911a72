"""`hookchain rules try` on a database that has no past."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import command

RULE = '[[rules]]\nname = "up"\non = "task.succeeded"\npress = "U1"\n'
MIGRATE = "`hookchain serve` or `hookchain migrate` makes a new one"
BACKUP = "If it is damaged, use a backup"


@pytest.mark.process
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, ["x.db does not exist. Set DATABASE_URL", MIGRATE]),
        (b"", ["no such table", MIGRATE]),
        (b"\x12\x07" * 3000, ["file is not a database", BACKUP]),
    ],
    ids=["missing", "empty", "broken"],
)
def test_what_cannot_be_read_is_told_with_a_remedy(
    tmp_path: Path, content: bytes | None, says: list[str]
) -> None:
    """In one line, and no file is made."""
    (tmp_path / "rules.toml").write_text(RULE)
    file = tmp_path / "x.db"
    if content is not None:
        file.write_bytes(content)
    tried = command.run(tmp_path, "rules", "try", "rules.toml", DATABASE_URL=f"sqlite:///{file}")
    assert tried.returncode == 1
    (line,) = tried.stderr.splitlines()
    assert [said in line for said in says] == [True] * len(says)
    assert file.exists() == (content is not None)
