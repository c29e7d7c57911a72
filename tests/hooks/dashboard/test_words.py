"""Everything that pages say is said in both languages, and the browser chooses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hooks.dashboard.i18n import catalogue, gettext_of, language_of

HOOKS = Path(__file__).parents[3] / "hooks"
SAID = re.compile(r"""\b_\("((?:[^"\\]|\\.)*)"\)""")


def said_by_templates() -> set[str]:
    templates = (HOOKS / "dashboard" / "templates").glob("*.html")
    return {text for template in templates for text in SAID.findall(template.read_text(encoding="utf-8"))}


def test_every_sentence_of_a_template_is_known_in_chinese() -> None:
    missing = said_by_templates() - catalogue("zh").keys()
    assert not missing


def test_no_sentence_is_left_over() -> None:
    """What is translated is said by a template, or stands in the code as it is."""
    code = "\n".join(
        file.read_text(encoding="utf-8")
        for file in [*(HOOKS / "dashboard").glob("*.py"), *HOOKS.glob("*.py")]
    )
    others = {text for text in catalogue("zh").keys() - said_by_templates() if f'"{text}"' not in code}
    assert not others


def test_a_sentence_that_is_not_known_stays_as_it_is() -> None:
    assert gettext_of("zh")("never said") == "never said"
    assert gettext_of("en")("Gallery") == "Gallery"
    assert gettext_of("zh")("Gallery") == "画廊"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-GB,en;q=0.9,zh;q=0.8", "en"),
        ("zh-Hans", "zh"),
        ("fr-FR, de;q=0.8", "en"),
        ("fr, zh;q=0.2, en;q=0.1", "zh"),
        ("en;q=0.1, zh;q=0.1", "en"),
        ("zh;q=nonsense, en", "en"),
        ("*", "en"),
        (",;q=,zh", "zh"),
    ],
)
def test_the_language_is_the_one_that_the_browser_likes_best(header: str, language: str) -> None:
    assert language_of(header) == language
