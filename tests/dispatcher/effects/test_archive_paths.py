"""Folders and names of kept files are filled in per event; nothing that is filled in leads anywhere else, or replaces another file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response

from dispatcher.effects.archive import archive
from dispatcher.effects.store import named
from dispatcher.plugins.errors import RuleError
from hookchain.testing import Hookchain, grid, upscale
from midjourney.file_names import segment, slug

ENDED_MS = 1_700_000_000_000
"""2023-11-14 at 22:13 UTC, which is the next day in Shanghai."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A cat, --ar 3:2", "a-cat-ar-3-2"),
        ("一只猫 в шляпе", "一只猫-в-шляпе"),
        ("बिल्ली", "बिल्ली"),
        ("../../etc/passwd", "etc-passwd"),
        ("", "untitled"),
        ("...", "untitled"),
        ("CON", "con-file"),
        ("lpt¹", "lpt1-file"),
        ("a\x00b\u202ec", "a-b-c"),
        ("word " * 100, "word-" * 15 + "word"),
        ("\ud800", "untitled"),
    ],
)
def test_a_slug_is_a_name_in_any_script(text: str, expected: str) -> None:
    """Letters, digits, and the marks that belong to a letter; never empty, hidden or a device."""
    assert slug(text) == slug(slug(text)) == expected or expected.endswith("-file")
    assert slug(text) == expected
    assert len(slug("猫" * 500).encode()) <= 200


@pytest.mark.parametrize(
    "text",
    [
        "..",
        ".",
        "",
        "/",
        "a/../b",
        "\\\\host\\c",
        "C:",
        "nul",
        "NUL.txt",
        "COM1",
        "a\x00b",
        "a\nb",
        ".hidden",
        "ü" * 500,
        "x. ",
        "\u202egpj",
    ],
)
def test_a_segment_stays_one_segment(text: str) -> None:
    """On Windows too: no drive, no device, no dot or space at its end."""
    name = segment(text)
    assert name
    assert not set(name) & set('/\\:*?"<>|\x00\n\u202e')
    assert name == name.strip(". ")
    assert name.partition(".")[0].lower() not in ("nul", "com1")
    assert len(name.encode()) <= 200


def test_no_two_tasks_share_a_name() -> None:
    """A prompt cannot be made so that its file is another task's; a name is never longer than a file system allows."""
    triples = [
        ("a", "main", "1"),
        ("a.main", "1", "1"),
        ("a", "main.1", "1"),
        ("", "main", "1"),
        ("a.main.1", "main", "1"),
    ]
    triples += [
        ("a", "main", one) for one in ("1.1", "1_1", "é" * 70, "é" * 71, "../1", "x" * 100, "x" * 101)
    ]
    names = [
        named(("d", beginning), upstream=upstream, task_id=task) for beginning, upstream, task in triples
    ]
    assert len(set(names)) == len(names)
    assert names[0] == "d/a.main.1"
    longest = named(("猫" * 300,), upstream="é" * 300, task_id="ü" * 300)
    assert len(longest.encode()) <= 240


async def test_a_file_is_kept_under_its_path(web: Any, make: Any, tmp_path: Path) -> None:
    """Twice gives the same file; a second task with the same prompt has its own."""
    web.answer = lambda _: Response(make.png())
    chain = make.chain(web.url)
    for _ in range(2):
        kept = await archive(
            make.task(f"{web.url}/g.png"), chain=chain, to=str(tmp_path), path=("..", "a cat")
        )
    assert kept.name == "untitled/a cat.main.17.png"
    await archive(make.task(f"{web.url}/g.png", id="18"), chain=chain, to=str(tmp_path), path=("..", "a cat"))
    names = sorted(str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*.*"))
    assert names == [
        f"untitled/a cat.main.{number}.{kind}" for number in (17, 18) for kind in ("json", "png")
    ]


@pytest.mark.parametrize(
    ("written", "to", "name"),
    [
        ("pictures", "pictures", None),
        ("pictures/{{ day }}/{{ task.prompt | slug }}", "pictures", "2023-11-14/a-cat-b.main.{id}"),
        ("pictures/{{ day }}/{{ prompt | slug }}", "pictures", "2023-11-14/a-cat-b.main.{id}"),
        ("pictures/{{ day }}/", "pictures", "2023-11-14/main.{id}"),
        (
            "pictures/{{ year }}/{{ month }}/{{ hour }} {{ task.prompt }}",
            "pictures",
            "2023/2023-11/22 a cat _ b.main.{id}",
        ),
        ("{{ task.prompt | replace('/', '-') }}".join(["p/", "/x"]), "p", "a cat - b/x.main.{id}"),
        ("s3://bucket/all/{{ task.action }}/", "s3://bucket/all", "IMAGINE/main.{id}"),
    ],
)
def test_a_rule_fills_a_path_in(hookchain: Hookchain, written: str, to: str, name: str | None) -> None:
    """The folder is what stands before the first template; the rest is filled in, a segment each."""
    hookchain.load_rules(f'[[rules]]\nname = "r"\non = "task.succeeded"\narchive = "{written}"\n')
    task = grid(prompt="a cat / b", finishTime=ENDED_MS)
    picture, about = hookchain.succeed(task).archived
    assert Path(picture.to).name == Path(to).name
    assert name is None or picture.name == f"{name.format(id=task['id'])}.png"
    assert about.name == f"{picture.name.removesuffix('.png')}.json"


def test_the_day_is_that_of_the_settings_time_zone(hookchain: Hookchain) -> None:
    """And the day when the task ended, not when the file was written: a later try gives the same file."""
    hookchain.load_rules(
        'timezone = "Asia/Shanghai"\n[upstreams.main]\nurl = "https://mj.example.com"\n'
        '[[rules]]\nname = "r"\non = "task.succeeded"\narchive = "p/{{ day }}/"\n'
    )
    assert hookchain.succeed(grid(finishTime=ENDED_MS)).archived[0].name.startswith("2023-11-15/")


def test_quarters_have_a_path_too(hookchain: Hookchain) -> None:
    """Numbered as their buttons."""
    hookchain.load_rules(
        '[[rules]]\nname = "r"\non = "task.succeeded"\nsplit_grid = { to = "p/{{ day }}/{{ prompt | slug }}" }\n'
    )
    task = grid(finishTime=ENDED_MS)
    pictures = [one.name for one in hookchain.succeed(task).archived if one.name.endswith(".png")]
    assert pictures == [f"2023-11-14/a-cat.main.{task['id']}-{number}.png" for number in (1, 2, 3, 4)]


def test_a_long_prompt_has_a_name(hookchain: Hookchain) -> None:
    """A name uses only its beginning: the picture is kept all the same."""
    hookchain.load_rules(
        '[[rules]]\nname = "r"\non = "task.succeeded"\narchive = "p/{{ task.prompt | slug }}"\n'
    )
    (picture, _) = hookchain.succeed(upscale(prompt="cat " * 10_000)).archived
    assert picture.name.startswith("cat-cat-")


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{{ day }}/x", "its folder is unknown"),
        ("s3://{{ task.prompt }}/x", "its folder is unknown"),
        ("pictures/{{ day }}/../x", "leads out of its folder"),
        ("pictures/{{ date }}", "unknown name 'date'"),
        ("pictures/{{ day | slugify }}", "unknown filter 'slugify'.+slug"),
    ],
)
def test_a_wrong_path_is_a_mistake(hookchain: Hookchain, written: str, message: str) -> None:
    """When the file is read."""
    with pytest.raises(RuleError, match=message):
        hookchain.load_rules(f'[[rules]]\nname = "r"\non = "task.succeeded"\narchive = "{written}"\n')
