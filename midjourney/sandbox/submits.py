"""Handlers of submits. They check the fields in the same way and order as the real servers."""

from __future__ import annotations

import re
from collections.abc import Callable

from msgspec.structs import replace

from midjourney.sandbox import chance, drawing, images
from midjourney.sandbox.admission import Admission
from midjourney.sandbox.drawing import Picture
from midjourney.sandbox.engine import Engine
from midjourney.sandbox.jobs import Order
from midjourney.sandbox.presses import Presses
from midjourney.sandbox.wire import Answer, Body

_DESCRIBED = (
    "1️⃣ a quiet harbour at dawn, watercolour --ar 1:1\n\n2️⃣ paper cut mountains under two moons --ar 1:1\n\n"
    "3️⃣ a small robot gardener, studio light --ar 1:1\n\n4️⃣ northern lights over a frozen lake --ar 1:1"
)


_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Submits:
    """Handlers for every submit, by path under the prefix."""

    def __init__(self, engine: Engine) -> None:
        self._admission = Admission(engine)
        self.presses = Presses(self._admission)
        self.by_path: dict[str, Callable[[Body, str, int], Answer]] = {
            "submit/imagine": self._imagine,
            "submit/action": self.presses.action,
            "submit/modal": self.presses.modal,
            "submit/change": self.presses.change,
            "submit/simple-change": self.presses.simple_change,
            "submit/blend": self._blend,
            "submit/describe": self._describe,
            "submit/shorten": self._shorten,
            "submit/edits": self._edit,
            "submit/edit": self._edit,
            "submit/retexture": self._retexture,
            "submit/video": self._video,
            "submit/show": self._show,
            "submit/upload-discord-images": self._upload,
            "insight-face/swap": self._swap,
            "insight-face/video-swap": self._video_swap,
        }

    def _imagine(self, body: Body, base_url: str, now_ms: int) -> Answer:
        prompt = body.prompt or ""
        pictures = [*(body.base64_array or []), *([body.base64] if body.base64 else [])]
        if self._admission.profile.one_image:
            pictures = pictures[-1:] if body.base64 else []
        if any(not self._admission.is_image(picture) for picture in pictures):
            return Answer(code=4, description="base64格式错误")
        order = _order(
            body, base_url, action="IMAGINE", work="imagine", prompt=prompt, description=f"/imagine {prompt}"
        )
        return self._admission.submit_prompt("imagine", order, now_ms)

    def _shorten(self, body: Body, base_url: str, now_ms: int) -> Answer:
        prompt = body.prompt or ""
        order = _order(
            body, base_url, action="SHORTEN", work="shorten", prompt=prompt, description=f"/shorten {prompt}"
        )
        return self._admission.submit_prompt("shorten", replace(order, text=_shortened(prompt)), now_ms)

    def _blend(self, body: Body, base_url: str, now_ms: int) -> Answer:
        pictures = body.base64_array or []
        if not 2 <= len(pictures) <= 5:
            return Answer(code=4, description="base64List参数错误")
        if (body.dimensions or "SQUARE") not in ("PORTRAIT", "SQUARE", "LANDSCAPE"):
            return Answer(code=4, description="dimensions参数错误")
        if any(not self._admission.is_image(picture) for picture in pictures):
            return Answer(code=4, description="base64格式错误")
        order = _order(
            body,
            base_url,
            action="BLEND",
            work="blend",
            prompt="a blend",
            description=f"/blend {len(pictures)}",
        )
        return self._admission.submit("blend", order, now_ms)

    def _describe(self, body: Body, base_url: str, now_ms: int) -> Answer:
        if not body.base64:
            return Answer(code=4, description="base64不能为空")
        if not self._admission.is_image(body.base64):
            return Answer(code=4, description="base64格式错误")
        order = _order(
            body, base_url, action="DESCRIBE", work="describe", prompt="", description="/describe image.png"
        )
        return self._admission.submit("describe", replace(order, text=_DESCRIBED), now_ms)

    def _edit(self, body: Body, base_url: str, now_ms: int) -> Answer:
        return self._edited("edit", body, base_url, now_ms)

    def _retexture(self, body: Body, base_url: str, now_ms: int) -> Answer:
        return self._edited("retexture", body, base_url, now_ms)

    def _edited(self, kind: str, body: Body, base_url: str, now_ms: int) -> Answer:
        if not self._admission.is_image(body.image or ""):
            return Answer(code=4, description="image参数错误")
        prompt = body.prompt or ""
        order = _order(
            body, base_url, action=kind.upper(), work="edit", prompt=prompt, description=f"/{kind} {prompt}"
        )
        return self._admission.submit_prompt(kind, order, now_ms)

    def _video(self, body: Body, base_url: str, now_ms: int) -> Answer:
        if body.action == "extend" and self._admission.engine.find(str(body.task_id or "")) is None:
            return Answer(code=3, description="关联任务不存在或已失效")
        if body.action != "extend" and not self._admission.is_image(body.image or ""):
            return Answer(code=4, description="image参数错误")
        order = _order(
            body,
            base_url,
            action="VIDEO",
            work="video",
            prompt=body.prompt or "a video",
            description="/video",
        )
        return self._admission.submit("video", replace(order, parent_id=str(body.task_id or "")), now_ms)

    def _show(self, body: Body, base_url: str, now_ms: int) -> Answer:
        """trueai's `SubmitController.Show`: the task that has the job already, or a new one at the account that is named."""
        found = _UUID.search(body.job_id or "")
        if found is None:
            return Answer(code=4, description="job id 格式错误" if body.job_id else "请填写 job id 或 url")
        for job in self._admission.engine.jobs.values():
            if job.uuid == found[0] and job.task.status == "SUCCESS":
                ran_by = {"discordInstanceId": job.task.properties.get("discordInstanceId")}
                return Answer(code=1, description="提交成功", result=job.task.id, properties=ran_by)
        if not (body.account_filter or {}).get("instanceId"):
            return Answer(code=4, description="show 命令必须指定实例")
        description = f"/show {body.job_id}"
        order = _order(
            body, base_url, action="SHOW", work="imagine", prompt="a shown job", description=description
        )
        return self._admission.submit("show", order, now_ms)

    def _swap(self, body: Body, base_url: str, now_ms: int) -> Answer:
        for field, image in (("sourceBase64", body.source_base64), ("targetBase64", body.target_base64)):
            if not self._admission.is_image(image or ""):
                return Answer(code=4, description=f"{field}参数错误")
        order = _order(body, base_url, action="SWAP_FACE", work="swap", prompt="", description="/swap")
        return self._admission.submit("swap", replace(order, bot_type="INSIGHT_FACE"), now_ms)

    def _video_swap(self, body: Body, base_url: str, now_ms: int) -> Answer:
        """trueai's `InsightFaceController.VideoFaceSwap`, and what `VideoFaceSwapInstance` refuses at once."""
        if not body.source_base64 and not body.source_url:
            return Answer(code=4, description="人脸图片不能为空")
        if not body.target_file and not body.target_url:
            return Answer(code=4, description="目标视频不能为空")
        if body.source_base64 and not self._admission.is_image(body.source_base64):
            return Answer(code=4, description="人脸图片格式错误")
        order = _order(body, base_url, action="SWAP_VIDEO_FACE", work="swap", prompt="", description="/swap")
        return self._admission.submit("video-swap", replace(order, bot_type="INSIGHT_FACE"), now_ms)

    def _upload(self, body: Body, base_url: str, now_ms: int) -> Answer:
        pictures = body.base64_array or []
        if not pictures or any(not self._admission.is_image(picture) for picture in pictures):
            return Answer(code=4, description="base64Array参数错误")
        links = [
            _link(base_url, chance.uuid(now_ms, place, len(picture)), now_ms)
            for place, picture in enumerate(pictures)
        ]
        return Answer(code=1, description="success", result=links)


def _link(base_url: str, uuid: str, now_ms: int) -> str:
    """The URL of an uploaded picture. What it shows is drawn, as all pictures of the sandbox are."""
    name = drawing.name_of(Picture(path="w", seed=chance.number(uuid) % 2**32), uuid, 0)
    return images.address(base_url, name, now_ms // 1000)


def _order(body: Body, base_url: str, *, action: str, work: str, prompt: str, description: str) -> Order:
    return Order(
        action=action,
        work=work,
        prompt=prompt,
        description=description,
        base_url=base_url,
        bot_type=body.bot_type or "MID_JOURNEY",
        state=body.state,
        notify_hook=body.notify_hook,
        mode=(body.mode or "FAST").upper(),
    )


def _shortened(prompt: str) -> str:
    words = prompt.split()
    cuts = (" ".join(words[: max(1, len(words) * (6 - n) // 6)]) for n in range(1, 6))
    lines = "\n\n".join(f"{n}\ufe0f\u20e3 {cut}" for n, cut in enumerate(cuts, start=1))
    return (
        "## Important tokens\n"
        + " ".join(f"**{word}**" for word in words)
        + f"\n## Shortened prompts\n{lines}"
    )
