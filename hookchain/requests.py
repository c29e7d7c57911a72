"""The types of all requests that a plugin can submit with `chain.submit`."""

from __future__ import annotations

from midjourney.requests import (
    Action,
    Blend,
    Cancel,
    Change,
    Describe,
    Edit,
    Imagine,
    Modal,
    Request,
    Retexture,
    Shorten,
    Show,
    SimpleChange,
    Swap,
    Video,
    VideoSwap,
)

__all__ = [
    "Action",
    "Blend",
    "Cancel",
    "Change",
    "Describe",
    "Edit",
    "Imagine",
    "Modal",
    "Request",
    "Retexture",
    "Shorten",
    "Show",
    "SimpleChange",
    "Swap",
    "Video",
    "VideoSwap",
]
