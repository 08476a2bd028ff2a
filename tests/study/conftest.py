"""Commands of a study in processes that have imported torch already: each would take seconds for that."""

import pytest
from forked import Popen

from picochat.study import runner


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands of studies start in half a second."""
    monkeypatch.setattr(runner.subprocess, "Popen", Popen)
