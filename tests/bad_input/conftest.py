"""The fixtures of the bad files: a folder to stand in, and the one way in which all of them are refused."""

from pathlib import Path

import pytest
from refusing import Refused, make_refused


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Refused:
    """Run a command line in `tmp_path` and make sure that it is refused."""
    monkeypatch.chdir(tmp_path)
    return make_refused(tmp_path, capsys)
