"""Everything that plugins may use. They import it as `hookchain`."""

from __future__ import annotations

from dispatcher.effects.archive import archive
from dispatcher.effects.forward import forward
from dispatcher.effects.notify import notify
from dispatcher.effects.split_grid import split_grid
from dispatcher.plugins.chain import Chain
from dispatcher.plugins.chain_tasks import ChainTask
from dispatcher.plugins.errors import GiveUp, Retry, Veto
from dispatcher.plugins.open_modal import OpenModal as Modal
from dispatcher.plugins.plugin_settings import plugin_settings
from dispatcher.plugins.receivers import receiver
from dispatcher.plugins.signals import (
    budget_exceeded,
    chain_rested,
    children_done,
    clock_struck,
    submission_accepted,
    submission_dead,
    submission_existed,
    submission_leaving,
    submission_needs_modal,
    submission_queued,
    submission_rejected,
    submission_uncertain,
    task_cancelled,
    task_failed,
    task_lost,
    task_overdue,
    task_progressed,
    task_started,
    task_submitted,
    task_succeeded,
)
from midjourney.buttons import Button
from midjourney.image_data import BadImage, Image
from midjourney.loading import load_image
from midjourney.prompts import with_param, without_param
from midjourney.types import Task
from storage.records import Event, Submission

__all__ = [
    "BadImage",
    "Button",
    "Chain",
    "ChainTask",
    "Event",
    "GiveUp",
    "Image",
    "Modal",
    "Retry",
    "Submission",
    "Task",
    "Veto",
    "archive",
    "budget_exceeded",
    "chain_rested",
    "children_done",
    "clock_struck",
    "forward",
    "load_image",
    "notify",
    "plugin_settings",
    "receiver",
    "split_grid",
    "submission_accepted",
    "submission_dead",
    "submission_existed",
    "submission_leaving",
    "submission_needs_modal",
    "submission_queued",
    "submission_rejected",
    "submission_uncertain",
    "task_cancelled",
    "task_failed",
    "task_lost",
    "task_overdue",
    "task_progressed",
    "task_started",
    "task_submitted",
    "task_succeeded",
    "with_param",
    "without_param",
]
