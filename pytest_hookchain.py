"""The pytest fixture `hookchain`, for tests of rules and plugins.

Every pytest run where hookchain is installed imports this module, of any project. So it stands alone, under a name that no
project has, and imports nothing of ours until a test asks for the fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hookchain.testing import Hookchain


@pytest.fixture
def hookchain(request: pytest.FixtureRequest) -> Iterator[Hookchain]:
    """A test kit for rules and plugins, with nothing loaded. Paths are relative to pytest's root directory."""
    try:
        from hookchain.testing import fresh
    except ImportError as error:  # its message is all that helps: the traceback shows only our imports
        raise pytest.fail.Exception(f"the fixture hookchain cannot be used: {error}", pytrace=False) from None
    with fresh(request.config.rootpath) as kit:
        yield kit
