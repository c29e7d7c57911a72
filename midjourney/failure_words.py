"""The texts in which upstreams report why a task failed or a submit was refused, as data: the first entry that matches counts.

Sources: novicezk/midjourney-proxy 0be95a9 (Java), midjourney-proxy-plus 3.7.5 (Java, rancytech/mj-plus), trueai-org/midjourney-proxy
ed32197 (C#), new-api and one-api (Go), clients that list Midjourney's own titles, issues, and the recorded payloads in
tests/corpus. The order of the kinds matters: money and account come first, because their texts mention prompts, violations and
time-outs too, and because mistaking them for something harmless costs an account.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Literal

import msgspec

FailureKind = Literal["money", "account", "moderation", "parameter", "queue", "timeout", "unknown"]


class Entry(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The kind of failure that `pattern` (a regular expression, ignoring case) means, with texts that were `seen`, and their source.

    `passes`: an outage that may end by itself, so that no person need act, and the upstream is not paused.
    """

    kind: FailureKind
    language: Literal["en", "zh"]
    pattern: str
    seen: tuple[str, ...]
    source: str
    passes: bool = False

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern, re.IGNORECASE)

    def matches(self, text: str) -> bool:
        """True if the text matches."""
        return self._compiled.search(text) is not None


TABLE: tuple[Entry, ...] = (
    # money: a person has to pay
    Entry(
        kind="money",
        language="en",
        pattern=r"(credits|(fast )?hours) exhausted|subscription (required|paused|expired)|plan cancel+ed|not subscribed",
        seen=(
            "[Credits exhausted] You have used all of your fast hours.",
            "Subscription required",
            "Subscription paused",
            "Plan Cancelled",
            "You're not subscribed to Midjourney",
        ),
        source="titles of Midjourney's messages (trueai DiscordWebSocketService.cs; thenextleg.io's list of errors)",
    ),
    Entry(
        kind="money",
        language="en",
        pattern=r"\bra?u?n out of [\w ]*(hours|credits?|quota)|account credit not enough",
        seen=("You've run out of hours!", "You've ran out of fast hours", "account credit not enough"),
        source="Midjourney and GoAPI, as clients of theirs look for them (public file no. 12457562725, no. 18028783873)",
    ),
    Entry(
        kind="money",
        language="en",
        pattern=r"insufficient[ _](user[ _])?(quota|balance|credits?|funds)|quota(_| is )not[_ ]enough|token_quota_failed"
        r"|exceeded your current quota|payment required",
        seen=(
            "user quota is not enough (request id: 2024081922011112714735330169131)",
            "quota_not_enough",
            "insufficient_user_quota",
            "pre_consume_token_quota_failed",
            "Insufficient balance",
            "You exceeded your current quota, please check your plan and billing details.",
        ),
        source="new-api and one-api (relay-mj.go; songquanpeng/one-api issue 1270; popjane/free_chatgpt_api issue 26)",
    ),
    Entry(
        kind="money",
        language="zh",
        pattern=r"(余额|额度|点数|积分)(已)?(不足|用尽|耗尽|用完)|额度失败|欠费",
        seen=(
            "用户额度不足, 剩余额度: ＄0.000000",
            "预扣费额度失败",
            "账户余额不足，请充值后再试",
        ),
        source="new-api and one-api (service/quota; token.go), and relays over them",
    ),
    Entry(
        kind="money",
        language="zh",
        pattern=r"用量已经?用完|绘图次数已达上限",
        seen=("账号用量已经用完", "用户今日绘图次数已达上限", "总绘图次数已达上限"),
        source="trueai (DiscordWebSocketService.cs: Credits exhausted; limits of its own users)",
    ),
    # account: a person has to act, or accounts are down
    Entry(
        kind="account",
        language="en",
        pattern=r"\A\W*blocked\W*\Z|blocked from accessing midjourney|(account|user) ((has been|is|was) )?(temporarily )?"
        r"(blocked|banned|suspended|disabled)|pending mod(eration)? message",
        seen=(
            "[Blocked] You have been blocked from accessing Midjourney.",
            "Blocked, You have been temporarily blocked from accessing Midjourney. This automatic temporary time out happens on"
            " repeated or serious ToS violations.",
            "Your account has been temporarily blocked due to suspicious activity.",
            "Pending mod message",
            "You have a pending moderation message. Please acknowledge it before using the bot further.",
        ),
        source="titles of Midjourney's messages (trueai; zcpua/midjourney-api issues 154, 170, 251; imagineapi/imagineapi issue 14)",
    ),
    Entry(
        kind="account",
        language="en",
        pattern=r"captcha|action required to continue|please complete the task|verify (that )?you('re| are) human|tos not accepted",
        seen=(
            "[Action required to continue] /captcha/embedded/1234",
            "Please complete the task",
            "Tos not accepted",
        ),
        source="titles of Midjourney's messages (igolaizola/bulkai; trueai; protocol notes c.6)",
    ),
    Entry(
        kind="account",
        language="en",
        pattern=r"(invalid|expired|incorrect|wrong)[ _](api[ _]?key|token|access[ _]token|credentials)|authorization header"
        r"|unauthori[sz]ed|access[ _]denied|empty access code|authentication failed",
        seen=(
            "Authorization header missing.",
            "invalid_api_key",
            "access_denied",
        ),
        source="trueai's 401; ChatAnyTeam/ChatAny issue 48; new-api and one-api",
    ),
    Entry(
        kind="account",
        language="en",
        pattern=r"no available (account|channel)|model_not_found",
        seen=("no available account", "No available channel for model mj_imagine", "model_not_found"),
        source="new-api (distributor), gateways over several accounts",
        passes=True,
    ),
    Entry(
        kind="account",
        language="zh",
        pattern=r"(账号|账户|用户)(已)?(被)?(临时)?(封锁|封禁|封号|冻结|禁用|暂停)|禁用账号|禁止登录|(人工|真人)验证|登录超时",
        seen=(
            "账号已被临时封锁，请勿使用违规词作图",
            "用户已被禁用",
            "请求失败，禁用账号",
            "CF 人工验证...",
            "登录超时",
        ),
        source="trueai (TaskService.cs, DiscordAccount: DisabledReason); new-api (middleware/auth.go)",
    ),
    Entry(
        kind="account",
        language="zh",
        pattern=r"令牌(错误|无效|不可用|已过期|状态)|无效的令牌|token 错误|没有操作权限",
        seen=("无效的令牌", "该令牌状态不可用", "用户 Token 错误", "令牌错误", "请求没有操作权限"),
        source="new-api and one-api (middleware/auth.go, token.go); trueai",
    ),
    Entry(
        kind="account",
        language="zh",
        pattern=r"账号不可用|实例(不存在或)?不可用|(无|没有)可用的?\w*(账号|实例|渠道)|未找到账号",
        seen=(
            "账号不可用: 1118138338562560102",
            "实例不可用",
            "无可用的账号实例",
            "没有可用的账号实例",
            "无可用的InsightFace账号实例",
            "当前分组 default 下对于模型 mj_imagine 无可用渠道",
        ),
        source="novicezk and Plus (TaskServiceImpl, DiscordLoadBalancer); trueai; new-api (distributor)",
        passes=True,
    ),
    # moderation: the same prompt will be refused again, and repeating it costs accounts
    Entry(
        kind="moderation",
        language="en",
        pattern=r"banned (image )?(prompt|word)|sensitive word|action needed to continue|you can't use this prompt|\bnsfw\b",
        seen=(
            "[Banned prompt detected] The word is banned.",
            "May contain sensitive words",
            "Action needed to continue",
            "You can't use this prompt",
        ),
        source="titles of Midjourney's messages (trueai; igolaizola/bulkai); trueai's code 24 in English",
    ),
    Entry(
        kind="moderation",
        language="en",
        pattern=r"(output|input|image|content) filters?\b|content (policy|moderat)|moderators?\b|community (standards|guidelines)"
        r"|(policy|tos) violation|violat\w+ [\w ]*(policy|terms|guidelines)|prompt [\w ]*(blocked|flagged)",
        seen=(
            "[Request cancelled due to output filters] Please try another prompt.",
            "Request cancelled due to image filters",
            "Sorry! Our AI moderators feel your prompt might be against our community standards.",
            "Request blocked by content policy",
        ),
        source="titles of Midjourney's messages (trueai; haojie06/midjourney-http); trueai issue 65; corpus: mc-fetch-failure-policy",
    ),
    Entry(
        kind="moderation",
        language="zh",
        pattern=r"敏感词|违规|违禁|屏蔽词|审核(未|不)通过|内容(审核|安全)|不健康",
        seen=("可能包含敏感词", "提示词包含违禁词", "内容审核未通过", "提示词包含不健康的词语"),
        source="novicezk, Plus and trueai (code 24, and as a task's failReason); relays and chat front ends",
    ),
    # parameter: the request itself is wrong
    Entry(
        kind="parameter",
        language="en",
        pattern=r"\binvalid[ _](parameter|prompt|link|request|form body|value|image|url|base64)|unrecogni[sz]ed|unknown_action"
        r"|empty prompt|job action restricted|cannot be empty|not supported|format is incorrect",
        seen=(
            "[Invalid parameter] Unrecognized parameter: --fail",
            "[invalid_parameter] The prompt word format is incorrect, please check and try again.",
            "Invalid prompt",
            "Invalid Form Body",
            "Job action restricted",
            "unknown_action:MJ::JOB::x",
        ),
        source="titles of Midjourney's messages (trueai; igolaizola/bulkai); Discord's error 50035; new-api; corpus",
    ),
    Entry(
        kind="parameter",
        language="en",
        pattern=r"task_no(t)?_found|task_status_not_success|ALREADY_REQUESTED_UPSCALE|already requested an upscale",
        seen=("task_no_found", "task_not_found", "task_status_not_success", "ALREADY_REQUESTED_UPSCALE"),
        source="new-api (service/midjourney.go); thenextleg.io's list of errors",
    ),
    Entry(
        kind="parameter",
        language="zh",
        pattern=r"参数|格式错误|不能为空|不支持|不允许|无效|关联(任务|动作)|父级任务|任务(不存在|状态错误|类型错误)|大小超过",
        seen=(
            "参数错误",
            "base64格式错误",
            "不支持的动作",
            "关联任务不允许执行变化",
            "未找到父级任务",
            "NotifyHook参数过长，最大2000字符",
            "目标图片大小超过最大限制",
        ),
        source="novicezk, Plus and trueai (SubmitController, TaskService)",
    ),
    # queue: too much at once; the same request works later
    Entry(
        kind="queue",
        language="en",
        pattern=r"queue (is )?full|full queue|too many (requests|tasks)|rate limit|slow down|status code 429|\AHTTP 429",
        seen=(
            "[Queue full] Your job queue is full. Please wait for a job to finish first.",
            "Too many requests, please slow down",
            "Request failed with status code 429",
        ),
        source="titles of Midjourney's messages (trueai; igolaizola/bulkai); haojie06/midjourney-http; zcpua/midjourney-api issue 235",
    ),
    Entry(
        kind="queue",
        language="zh",
        pattern=r"队列(已满|数已达上限)|并发数已达上限|负载已饱和|(请求|操作)(过于|太)频繁",
        seen=(
            "提交失败，队列已满，请稍后重试",
            "队列数已达上限",
            "当前分组负载已饱和，请稍后再试，或升级账户以提升服务质量。",
        ),
        source="novicezk and Plus (code 23), trueai (code 9, limits of its own users), new-api (code 30)",
    ),
    # timeout: there was no answer in time
    Entry(
        kind="timeout",
        language="zh",
        pattern=r"超时",
        seen=(
            "任务超时",
            "执行超时 5 分钟",
            "超时，未找到消息",
            "执行动作(modal)超时",
            "上游任务超时（超过1小时）",
        ),
        source="novicezk and Plus (TaskTimeoutSchedule, TaskServiceImpl), trueai (DiscordService.cs), new-api (controller/midjourney.go)",
    ),
    Entry(
        kind="timeout",
        language="en",
        pattern=r"\btimed?[ -]?out\b|took too long",
        seen=(
            "Task timeout",
            "The request timed out",
            "Midjourney Bot took too long to process your command",
        ),
        source="trueai in English; thenextleg.io's list of errors",
    ),
)
"""The entries, in the order in which they are searched."""
