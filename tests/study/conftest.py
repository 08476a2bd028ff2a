"""Commands of a study in processes that have imported torch already: each would take seconds for that."""

from pathlib import Path
from typing import Any

import pytest
from forked import Forked, picochat

from picochat.study import runner


class Popen(Forked):
    """As much of subprocess.Popen as the runner uses."""

    def __init__(self, words: list[str], *, stdout: Any, env: dict[str, str], cwd: Path, **others: Any) -> None:
        assert words[1:3] == ["-m", "picochat"]
        super().__init__(picochat, *words[3:], output=Path(stdout.name), cwd=cwd, env=env)
        self.wait, self.terminate = self.end, self.process.terminate


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands of studies start in half a second."""
    monkeypatch.setattr(runner.subprocess, "Popen", Popen)
