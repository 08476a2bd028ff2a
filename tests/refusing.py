"""How every refusal looks: exit status 2, one line on stderr with the expected words, no file made, changed or lost."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from picochat.cli import main

Refused = Callable[..., str]


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file (its bytes) and folder (None) below `folder`, but for token caches, which any command may fill."""
    paths = [path for path in folder.rglob("*") if "tokens" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in paths}


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Refused:
    """Run a command line in `tmp_path` and make sure that it is refused; the line that says so."""
    monkeypatch.chdir(tmp_path)

    def refused(*words: str, says: str = "") -> str:
        before = contents(tmp_path)
        with pytest.raises(SystemExit) as stop:
            main(list(words))
        out, said = capsys.readouterr()
        assert stop.value.code == 2, said
        errors = [line for line in said.splitlines() if line.startswith("picochat: error: ")]
        assert len(errors) == 1, said
        assert "Traceback" not in said
        assert "val_check_interval=" not in out  # Lightning says of every run when it validates
        assert re.search(says, errors[0]), errors[0]
        assert len(errors[0]) < 800, errors[0]
        assert errors[0].isprintable(), errors[0]
        assert contents(tmp_path) == before
        return errors[0]

    return refused
