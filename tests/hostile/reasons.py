"""Reasons of failures as proxies write them, in English and Chinese, by the kind of the failure.

From sections b.1 and c.6 of the protocol notes, and from recorded answers in the corpus. Plus writes `[title] description`,
trueai joins the two with a comma; operators translate some of them.
"""

from __future__ import annotations

MODERATION = (
    "[Banned prompt detected] The word you used is banned.",
    "Banned prompt detected, Circumventing this filter may result in your access being revoked.",
    "[Request cancelled due to output filters] Sorry! The AI moderator is unsure about this image.",
    "可能包含敏感词",
    "Request blocked by content policy",
)
ACCOUNT = (
    "[Blocked] You have been blocked from accessing Midjourney.",
    "[Pending mod message] You have a pending moderation message.",
    "实例不可用",
)
MONEY = (
    "[Plan Cancelled] Your plan was cancelled.",
    "[Subscription required] You need a subscription to create images.",
    "[Subscription paused] Your subscription is paused.",
    "[Credits exhausted] You have run out of hours.",
)
PARAMETER = (
    "[Invalid parameter] Invalid value",
    "[Invalid link] Could not load the image.",
    "Invalid Form Body",
    "[invalid_parameter] The prompt word format is incorrect, please check and try again.",
    "Invalid prompt",
)
TIME_OUT = ("任务超时", "执行超时 5 分钟", "任务提交超时", "超时，未找到消息", "上游任务超时（超过1小时）")
QUEUE = ("[Queue full] Your job queue is full.", "Queue full, please wait for a job to finish first.")
UNKNOWN = (
    "执行错误，系统异常",
    "[Internal Server Error] Something went wrong.",
    "Failed to process your command",
)

BY_KIND = {
    "moderation": MODERATION,
    "account": ACCOUNT,
    "money": MONEY,
    "parameter": PARAMETER,
    "time-out": TIME_OUT,
    "queue": QUEUE,
    "unknown": UNKNOWN,
}
