"""What pages need is ours: vendored files are those of their releases, nothing comes from elsewhere."""

from __future__ import annotations

import hashlib
import re

from hooks.dashboard.render import HERE, statics
from tests.hooks.conftest import Site

VENDOR = HERE / "static" / "vendor"


def test_vendored_files_are_those_of_their_releases() -> None:
    """A licence and a checksum for each; the version is in its README."""
    listed = {}
    for line in (VENDOR / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        listed[name] = digest
    there = {file.name for file in VENDOR.iterdir()} - {"SHA256SUMS", "README.md"}
    assert there == listed.keys()
    for name, digest in listed.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest


def test_no_page_names_another_host() -> None:
    for file in [*HERE.rglob("*.html"), HERE / "static" / "style.css", HERE / "static" / "app.js"]:
        assert not re.search(r"(?:https?:)?//[a-z]", file.read_text(encoding="utf-8")), file.name


def test_no_template_has_a_script_or_a_style_in_it() -> None:
    """The policy would refuse it."""
    for file in HERE.rglob("*.html"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|hx-on|hx-vals|js:", text), (
            file.name
        )


async def test_a_file_is_kept_for_ever_by_its_digest_and_never_without(site: Site) -> None:
    """Nor by that of another release, which serves beside this one during a deployment."""
    name = "style.css"
    data, media_type, digest = statics()[name]
    kept = await site.http.get(f"/static/{name}?v={digest}")
    assert kept.content == data
    assert kept.headers["content-type"] == media_type
    assert "immutable" in kept.headers["cache-control"]
    for path in (f"/static/{name}", f"/static/{name}?v=another", f"/static/{name}?v="):
        assert (await site.http.get(path)).headers["cache-control"] == "no-cache"


async def test_nothing_but_these_files_is_served(site: Site) -> None:
    for path in ("/static/../render.py", "/static/%2e%2e/render.py", "/static/vendor/SHA256SUMS", "/static/"):
        assert (await site.http.get(path)).status_code == 404
