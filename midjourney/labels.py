"""Reads what a button does from its label, for gateways with opaque customIds: "U1", "u1", "🔍 U1", "U1️⃣", "放大第一张".

A label counts only if it has a single meaning, because a press costs money: "⏫" may be 2x, 4x, Subtle or Creative, and "变焦" any
zoom, so both are "other". If the customId is a word itself ("variation2"), it must not contradict the label.

Sources of the words: Midjourney's own labels (trueai CustomComponentModel.cs, Plus 3.7.5 ConvertUtils.java); one-api's list of models
(放大, 变换, 重绘); a table of Coze's Midjourney plugin (放大第一张, 第一张变体); trueai's comments (强变化, 弱变化, 自定义变焦, 局部重绘).
"重绘" alone means a reroll at one of them and vary region at another, so it is "other".
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_OTHER: tuple[str, int | None] = ("other", None)

_PLACES = {
    "一": 1, "二": 2, "三": 3, "四": 4,
    "左上": 1, "右上": 2, "左下": 3, "右下": 4,
}  # fmt: skip
_N = r"([1-4])"
_PICTURE = r"(?:张|張)?(?:图片|圖片|图|圖)?"
_PLACE = rf"(?:第?([1-4一二三四]){_PICTURE}|(左上|右上|左下|右下)角?{_PICTURE})"


def _either_way(verb: str) -> str:
    """A pattern for a Chinese verb and the image that it is about, in either order."""
    return rf"(?:{verb}){_PLACE}|{_PLACE}的?(?:{verb})"


_WORDS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (rf"u{_N}(?:放大|upscale)?|(?:upscale|upsample)(?:image)?#?{_N}", "upscale"),
        (_either_way("放大"), "upscale"),
        (
            rf"v{_N}(?:变换|变体|变化|變換|變體|變化|variation|vary)?|(?:variation|vary)(?:image)?#?{_N}",
            "variation",
        ),
        (_either_way("变换|变体|变化|變換|變體|變化"), "variation"),
        (r"r|re-?roll|重新生成|重新绘制|重新繪製|换一批|換一批", "reroll"),
        (r"(?:redo)?upscale\(?subtle\)?", "upscale_subtle"),
        (r"(?:redo)?upscale\(?creative\)?", "upscale_creative"),
        (r"(?:redo)?upscale\(?2x\)?|放大\(?2(?:x|倍)\)?|2倍放大", "upscale_2x"),
        (r"(?:redo)?upscale\(?4x\)?|放大\(?4(?:x|倍)\)?|4倍放大", "upscale_4x"),
        (r"vary\(?subtle\)?|(?:弱变化|弱變化)", "vary_subtle"),
        (r"vary\(?strong\)?|(?:强变化|強變化)", "vary_strong"),
        (r"vary\(?region\)?|inpaint|局部重绘|局部重繪", "vary_region"),
        (r"zoomout\(?2x\)?|(?:变焦|變焦)\(?2(?:\.0)?(?:x|倍)\)?|2倍(?:变焦|變焦)", "zoom_out_2x"),
        (r"zoomout\(?1\.5x\)?|(?:变焦|變焦)\(?1\.5(?:x|倍)\)?|1\.5倍(?:变焦|變焦)", "zoom_out_1.5x"),
        (r"makesquare", "make_square"),
        (r"customzoom|自定义变焦|自定義變焦", "custom_zoom"),
        (r"panleft|(?:向?左平移|平移\(?向?左\)?)", "pan_left"),
        (r"panright|(?:向?右平移|平移\(?向?右\)?)", "pan_right"),
        (r"panup|(?:向?上平移|平移\(?向?上\)?)", "pan_up"),
        (r"pandown|(?:向?下平移|平移\(?向?下\)?)", "pan_down"),
        (r"animate\(?highmotion\)?", "animate_high"),
        (r"animate\(?lowmotion\)?", "animate_low"),
        (r"extend\(?highmotion\)?", "extend_high"),
        (r"extend\(?lowmotion\)?", "extend_low"),
    )
)

_EMOJI = {
    "🔄": "reroll",
    "🖌": "vary_region",
    "❤": "bookmark",
    "⬅": "pan_left",
    "➡": "pan_right",
    "⬆": "pan_up",
    "⬇": "pan_down",
}
"""The emoji with a single meaning, without their variation selectors."""

# CustomIds that are words themselves: the label must agree with them.
_OPAQUE: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(rf"(?:upsample|upscale|u)[-_:]*{_N}"), "upscale"),
    (re.compile(rf"(?:variation|vary|v)[-_:]*{_N}"), "variation"),
    (re.compile(r"re-?roll"), "reroll"),
    (re.compile(rf".*video.*?{_N}?"), "video_upscale"),
)


@lru_cache(maxsize=1024)
def meaning_of_label(custom_id: str, label: str, emoji: str) -> tuple[str, int | None]:
    """The kind and the image, by the label, otherwise by the emoji; ("other", None) if there are several meanings."""
    words, signs = _words_and_signs(label)
    meant = _by_words(words) if words else _by_emoji(signs or _words_and_signs(emoji)[1])
    if meant == _OTHER:
        return _OTHER
    named = _by_id(custom_id)
    return meant if named is None or named == meant else _OTHER


def _words_and_signs(text: str) -> tuple[str, str]:
    """The words, in lower case without blanks, and the emoji. Digits in a box and full-width digits count as digits."""
    plain = unicodedata.normalize("NFKC", text).lower()
    words, signs = [], []
    for character in plain:
        category = unicodedata.category(character)
        if category in ("So", "Sk"):
            signs.append(character)
        elif category not in ("Mn", "Me", "Cf", "Zs", "Cc"):
            words.append(character)
    return "".join(words), "".join(signs)


def _by_words(words: str) -> tuple[str, int | None]:
    meanings = {
        (kind, _image(match.groups()))
        for pattern, kind in _WORDS
        if (match := pattern.fullmatch(words)) is not None
    }
    return meanings.pop() if len(meanings) == 1 else _OTHER


def _image(groups: tuple[str | None, ...]) -> int | None:
    number = next((value for value in groups if value), None)
    return None if number is None else _PLACES.get(number) or int(number)


def _by_emoji(signs: str) -> tuple[str, int | None]:
    return _EMOJI.get(signs, "other"), None


def _by_id(custom_id: str) -> tuple[str, int | None] | None:
    for pattern, kind in _OPAQUE:
        if (match := pattern.fullmatch(custom_id.strip().lower())) is not None:
            return kind, _image(match.groups())
    return None
