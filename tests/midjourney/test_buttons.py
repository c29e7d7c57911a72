"""What buttons do, and which ones people mean."""

from __future__ import annotations

import pytest

from midjourney import buttons
from midjourney.buttons import LONGEST_REMEMBERED, Button, choose, is_grid

UUID = "0ddb91a0-af46-4ae9-8e8e-c271074eb6e6"
GRID = [Button(custom_id=f"MJ::JOB::upsample::{n}::{UUID}", label=f"U{n}") for n in (1, 2, 3, 4)]
GRID += [Button(custom_id=f"MJ::JOB::reroll::0::{UUID}::SOLO", emoji="🔄")]
GRID += [Button(custom_id=f"MJ::JOB::variation::{n}::{UUID}", label=f"V{n}") for n in (1, 2, 3, 4)]
SINGLE = [
    Button(custom_id=f"MJ::JOB::upsample_v7_2x_subtle::1::{UUID}::SOLO", label="Upscale (Subtle)"),
    Button(custom_id=f"MJ::CustomZoom::{UUID}", label="Custom Zoom"),
    Button(custom_id=f"MJ::Inpaint::1::{UUID}::SOLO", label="Vary (Region)"),
]
VIDEO = [
    Button(custom_id=f"MJ::JOB::video_virtual_upscale::{n}::{UUID}", label=f"U{n}") for n in (1, 2, 3, 4)
]


@pytest.mark.parametrize(
    ("custom_id", "kind", "index"),
    [
        (f"MJ::JOB::upsample::3::{UUID}", "upscale", 3),
        (f"MJ::JOB::variation::2::{UUID}", "variation", 2),
        (f"MJ::JOB::reroll::0::{UUID}::SOLO", "reroll", None),
        (f"MJ::JOB::upsample_v5_2x::1::{UUID}::SOLO", "upscale_2x", None),
        (f"MJ::JOB::upsample_v5_4x::1::{UUID}::SOLO", "upscale_4x", None),
        (f"MJ::JOB::upsample_v6r1_2x_creative::1::{UUID}::SOLO", "upscale_creative", None),
        (f"MJ::JOB::upsample_v7_2x_subtle::1::{UUID}::SOLO", "upscale_subtle", None),
        (f"MJ::JOB::low_variation::1::{UUID}::SOLO", "vary_subtle", None),
        (f"MJ::Inpaint::1::{UUID}::SOLO", "vary_region", None),
        (f"MJ::Outpaint::75::1::{UUID}::SOLO", "zoom_out_1.5x", None),
        (f"MJ::CustomZoom::1::{UUID}", "custom_zoom", None),
        (f"MJ::CustomZoom::{UUID}", "custom_zoom", None),
        ("MJ::Job::PicReader::4", "pic_reader", 4),
        ("MJ::JobB::PromptAnalyzer::5", "prompt_analyzer", 5),
        (f"MJ::JOB::video_virtual_upscale::1::{UUID}", "video_upscale", 1),
        (f"MJ::JOB::new_thing::1::{UUID}", "other", None),
    ],
)
def test_the_custom_id_tells_what_a_button_does(custom_id: str, kind: str, index: int | None) -> None:
    """The grammar, over all Midjourney versions."""
    button = Button(custom_id=custom_id, label="U1")
    assert (button.kind, button.index) == (kind, index)


def test_the_label_decides_where_ids_are_opaque() -> None:
    """302.AI's gateway names its buttons upsample1."""
    assert Button(custom_id="upsample1", label="U1").kind == "upscale"
    assert Button(custom_id="x", label="U1").index == 1


def test_every_u_means_the_four_upscales() -> None:
    """Not "Upscale (Subtle)", not the U1 of a video, not everything that is called upsample."""
    assert [button.name for button in choose(GRID, "U*")] == ["U1", "U2", "U3", "U4"]
    assert choose(SINGLE, "U*") == []
    assert choose(VIDEO, "U*") == []


def test_people_name_buttons_in_many_ways() -> None:
    """Label, glob, kind, customId, emoji."""
    assert [button.name for button in choose(GRID, "V2")] == ["V2"]
    assert [button.name for button in choose(GRID, "U[13]")] == ["U1", "U3"]
    assert len(choose(GRID, "upscale")) == 4
    assert choose(GRID, GRID[0].custom_id) == [GRID[0]]
    assert [button.kind for button in choose(GRID, "🔄")] == ["reroll"]
    assert [button.kind for button in choose(SINGLE, "custom zoom")] == ["custom_zoom"]
    assert [button.kind for button in choose(SINGLE, "Upscale*")] == ["upscale_subtle"]


@pytest.mark.parametrize("blank", ["", " ", "\n"])
def test_a_blank_names_no_button(blank: str) -> None:
    """Not the reroll, which has no label, nor U1 where buttons have no customIds."""
    assert choose(GRID, blank) == []
    assert choose([Button(label="U1"), Button(emoji="🔄")], blank) == []


def test_a_grid_is_a_task_with_four_u_buttons() -> None:
    """Three are none, and a video's are none."""
    assert is_grid(GRID)
    assert not is_grid(GRID[1:])
    assert not is_grid(VIDEO)


@pytest.mark.parametrize(
    ("label", "kind", "index"),
    [
        ("u1", "upscale", 1),
        (" U2 ", "upscale", 2),
        ("Ｕ３", "upscale", 3),
        ("U4️⃣", "upscale", 4),
        ("🔍 U1", "upscale", 1),
        ("⏫ u2", "upscale", 2),
        ("放大3", "upscale", 3),
        ("放大第一张", "upscale", 1),
        ("放大第四张图片", "upscale", 4),
        ("放大 左上", "upscale", 1),
        ("右下放大", "upscale", 4),
        ("U2 放大", "upscale", 2),
        ("v1", "variation", 1),
        ("V2️⃣", "variation", 2),
        ("变换3", "variation", 3),
        ("第一张变体", "variation", 1),
        ("变化 右上", "variation", 2),
        ("🔄", "reroll", None),
        ("🔄 重新生成", "reroll", None),
        ("Reroll", "reroll", None),
        ("upscale (subtle)", "upscale_subtle", None),
        ("Upscale (2x)", "upscale_2x", None),
        ("放大2倍", "upscale_2x", None),
        ("VARY (STRONG)", "vary_strong", None),
        ("强变化", "vary_strong", None),
        ("🖌️ 局部重绘", "vary_region", None),
        ("🔍 Zoom Out 1.5x", "zoom_out_1.5x", None),
        ("变焦 2x", "zoom_out_2x", None),
        ("custom zoom", "custom_zoom", None),
        ("自定义变焦", "custom_zoom", None),
        ("⬅️", "pan_left", None),
        ("向右平移", "pan_right", None),
        ("平移(上)", "pan_up", None),
    ],
)
def test_a_label_is_read_in_its_spellings(label: str, kind: str, index: int | None) -> None:
    """Small letters, emoji, Chinese; on an id that says nothing."""
    for custom_id in ("xyz-42", ""):
        button = Button(custom_id=custom_id, label=label)
        assert (button.kind, button.index) == (kind, index)


@pytest.mark.parametrize(
    "label",
    [
        "⏫",
        "🪄",
        "🔍",
        "1️⃣",
        "放大",
        "变焦",
        "平移",
        "重绘",
        "U5",
        "U0",
        "放大10",
        "U1 U2",
        "Web",
        "U",
        "Upscale",
        "⬅️➡️",
        "",
    ],
)
def test_a_label_with_several_readings_is_read_as_none(label: str) -> None:
    """ "⏫" is 2x, 4x, Subtle or Creative; "重绘" is a reroll at one vendor, and the region at another."""
    assert Button(custom_id="xyz-42", label=label, emoji=label).kind == "other"


@pytest.mark.parametrize(
    ("custom_id", "label", "kind"),
    [
        ("upsample1", "U1", "upscale"),
        ("upsample2", "U1", "other"),
        ("variation1", "U1", "other"),
        ("reroll", "🔄", "reroll"),
        ("reroll", "U1", "other"),
        ("video_upscale_1", "U1", "other"),
        ("mj::job::new_thing::1", "U1", "other"),
        ("MJ::JOB::new_thing::1", "放大1", "other"),
    ],
)
def test_an_id_that_is_a_word_must_agree_with_the_label(custom_id: str, label: str, kind: str) -> None:
    """A contradiction is nothing to spend money on."""
    assert Button(custom_id=custom_id, label=label).kind == kind


def test_labels_in_any_spelling_make_a_grid() -> None:
    """And are pressed by "U*" and "V2" as any others."""
    for spelling in ("u{}", "🔍 U{}", "放大{}"):
        grid = [Button(custom_id=f"action-{n}", label=spelling.format(n)) for n in (1, 2, 3, 4)]
        assert is_grid(grid)
        assert [button.name for button in choose(grid, "U*")] == ["U1", "U2", "U3", "U4"]
        assert choose(grid, "V*") == []


def test_a_strangers_long_button_is_understood_and_not_remembered() -> None:
    """A thousand of a megabyte each would stay in memory; a short one is remembered."""
    short, long = "MJ::JOB::pan_up::1::a", "MJ::JOB::pan_up::1::" + "a" * LONGEST_REMEMBERED
    buttons._remembered.cache_clear()
    assert [Button(custom_id=long).kind, Button(label="放大1", emoji=long).kind] == ["pan_up", "upscale"]
    assert buttons._remembered.cache_info().currsize == 0
    assert [Button(custom_id=short).kind for _ in range(2)] == ["pan_up"] * 2
    assert (buttons._remembered.cache_info().currsize, buttons._remembered.cache_info().hits) == (1, 1)
