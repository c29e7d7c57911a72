"""Where `hookchain new rules NAME --from X` finds X: among the built-in examples, in a file, or at an https:// address."""

from __future__ import annotations

import asyncio
import re
import ssl
import tomllib
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import urljoin, urlsplit

import httpx
import msgspec

import hookchain
from hookchain.settings.conversion import SettingsError
from midjourney.addresses import port_of, shown
from midjourney.bounded import BadAnswer, Bounds, exchange
from midjourney.nearest import nearest
from midjourney.reachable import NotReachable, address_of
from midjourney.slices import in_slices
from midjourney.tls import trusted

LARGEST_BYTES = 256 * 1024
WITHIN_S = 10.0
REDIRECTS = 3

_UNWANTED = ("text/event-stream", "multipart/", "video/", "audio/", "image/", "text/html")


class RuleText(msgspec.Struct, frozen=True, kw_only=True):
    """The text of a rule file, and where it comes from."""

    kind: Literal["built-in", "file", "https"]
    text: str
    where: str
    name: str


def examples() -> dict[str, Path]:
    """The built-in examples by name. In a checkout they are beside the package."""
    package = Path(hookchain.__file__).parent
    folder = package / "examples"
    if not folder.is_dir() and (package.parent / "pyproject.toml").is_file():
        folder = package.parent / "examples"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def description_of(text: str) -> str:
    """What a rule file says that it is for: the description of its blueprint, or the first sentence of its comment."""
    blueprint = tomllib.loads(text).get("blueprint", {})
    if isinstance(blueprint, dict) and blueprint.get("description"):
        return str(blueprint["description"])
    lines = [line for line in text.splitlines() if not line.startswith("#:")]
    comment = " ".join(
        line.lstrip("# ")
        for line in lines[
            : next((at for at, line in enumerate(lines) if not line.startswith("#")), len(lines))
        ]
    )
    return re.split(r"(?<=\.)\s", comment, maxsplit=1)[0]


def found(source: str) -> RuleText:
    """The text of a built-in name, of a file, or at an https:// address, in this order. Raises `SettingsError`."""
    known = examples()
    if source in known:
        text = known[source].read_text(encoding="utf-8")
        return RuleText(kind="built-in", text=text, where=f"the built-in example {source}", name=source)
    if "://" in source:
        return RuleText(
            kind="https", text=asyncio.run(fetched(source)), where=shown(source), name=_stem(source)
        )
    path = Path(source)
    if not path.is_file():
        raise SettingsError(
            f"{source!r} is no built-in example, no file and no https:// address.{nearest(source, known)}"
        )
    if path.stat().st_size > LARGEST_BYTES:
        raise SettingsError(f"{source} has more than {LARGEST_BYTES} bytes")
    return RuleText(kind="file", text=_decoded(path.read_bytes(), source), where=source, name=path.stem)


def _stem(address: str) -> str:
    return Path(urlsplit(address).path).stem


async def fetched(
    address: str, *, allow_private: bool = False, authorities: ssl.SSLContext | None = None
) -> str:
    """The text at an https:// address. `authorities`: those whose certificates are believed, if they are others than usual.

    Raises `SettingsError`.
    """
    url = address
    client = httpx.AsyncClient(timeout=WITHIN_S, trust_env=False, verify=authorities or trusted())
    try:
        async with asyncio.timeout(WITHIN_S), in_slices(client) as http:
            for _ in range(REDIRECTS + 1):
                answer = await _get(http, url, allow_private)
                if isinstance(answer, bytes):
                    return _decoded(answer, shown(url))
                url = urljoin(url, answer)
    except TimeoutError as error:
        raise SettingsError(f"{shown(url)} did not arrive within {WITHIN_S:g} s") from error
    except (httpx.HTTPError, BadAnswer) as error:
        raise SettingsError(f"{shown(url)} cannot be loaded: {str(error) or type(error).__name__}") from error
    except NotReachable as error:
        raise SettingsError(str(error)) from error
    except (ValueError, httpx.InvalidURL) as error:  # such as a port of six digits
        raise SettingsError(f"{shown(url)} is not a valid URL: {error}") from error
    raise SettingsError(f"{shown(address)} redirects more than {REDIRECTS} times")


async def _get(http: httpx.AsyncClient, url: str, allow_private: bool) -> bytes | str:
    """The body, or the target of a redirect. The connection goes to the address that was checked."""
    parts = urlsplit(url)
    if parts.scheme != "https":
        raise SettingsError(
            f"{shown(url)} is not an https:// address: anybody on the way could change the rules"
        )
    address = await address_of(parts, allow_private=allow_private, cure="is not fetched")
    host = f"[{address}]" if ":" in address else address
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    request = http.build_request(
        "GET",
        httpx.URL(f"https://{host}:{port_of(parts)}").copy_with(raw_path=httpx.URL(path).raw_path),
        headers={"accept": "text/plain, application/toml", "user-agent": "hookchain", "host": parts.netloc},
        extensions={"sni_hostname": parts.hostname},
    )
    answer = await exchange(
        partial(http.send, stream=True, follow_redirects=False),
        request,
        Bounds(sent_bytes=LARGEST_BYTES, unpacked_bytes=LARGEST_BYTES, within_s=WITHIN_S, unwanted=_UNWANTED),
        reads=lambda status: status == 200,
    )
    if answer.status in (301, 302, 303, 307, 308) and "location" in answer.headers:
        return str(answer.headers["location"])
    if answer.status != 200:
        raise SettingsError(f"{shown(url)} answered HTTP {answer.status}")
    return answer.content


def _decoded(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{where} is not a text in UTF-8") from error
