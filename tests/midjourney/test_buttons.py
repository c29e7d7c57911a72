"""What buttons do, and which ones people mean."""

from __future__ import annotations

import pytest

from midjourney.buttons import Button, choose, is_grid

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
