"""Under attack, alone and together: an honest sender is answered, nothing acknowledged is lost, memory and disk stay bounded."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.abuse.attackers import ATTACKS
from tests.abuse.suite import CASES, GOAL_P99_MS, Case, run
from tests.conftest import PATIENCE_S

pytestmark = pytest.mark.process

TOGETHER = [case for case in CASES if case.name == "together"]
SHORT_S, LONG_S = 5.0, 12.0


@pytest.mark.parametrize(
    ("case", "seconds"),
    [
        *(pytest.param(case, SHORT_S, id=f"{case.name}, short") for case in TOGETHER),
        *(pytest.param(case, LONG_S, id=case.name, marks=pytest.mark.soak) for case in CASES),
    ],
)
def test_an_honest_sender_is_served_under_attack(
    tmp_path: Path, new_file: Path, case: Case, seconds: float
) -> None:
    """The time that answers take is printed, and decides nothing: it depends on the machine."""
    shutil.copy(new_file, tmp_path / "hookchain.db")
    outcome = run(case, tmp_path, seconds, senders_patience_s=PATIENCE_S / 2)
    print(f"p99 {outcome.p99_ms:.0f} ms (goal {GOAL_P99_MS}), {outcome}")
    assert outcome.faults == []
    assert outcome.sent > 0
    assert not any("failed" in one for one in outcome.attacked.values()), outcome.attacked


def test_every_attack_is_in_a_case() -> None:
    """None is written and never run."""
    assert {name for case in CASES for name in case.attacks} == set(ATTACKS)
