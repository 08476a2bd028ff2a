"""A folder with a dataset pack."""

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pack")
    (folder / "dataset_pack.json").write_text('{"name": "test", "owner": "somebody"}')
    return folder
