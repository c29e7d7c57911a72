"""The pytest fixture `hookchain`, for tests of rules and plugins.

If hookchain is installed, every pytest run imports this module, in any project. So it is a separate module with a unique name, and
imports nothing of ours until a test requests the fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hookchain.testing import Hookchain


@pytest.fixture
def hookchain(request: pytest.FixtureRequest) -> Iterator[Hookchain]:
    """A test kit for rules and plugins, with nothing loaded. Paths are relative to the test's file, or else to pytest's root
    directory."""
    try:
        from hookchain.testing import fresh
    except ImportError as error:
        # Without a traceback, which would only show our imports.
        raise pytest.fail.Exception(f"the fixture hookchain cannot be used: {error}", pytrace=False) from None
    with fresh(request.path.parent, request.config.rootpath) as kit:
        yield kit
