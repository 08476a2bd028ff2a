"""The callbacks are tried in plain Lightning projects, whose simple loaders draw advice that is beside the point."""

from pathlib import Path

import pytest

_ADVICE = (
    pytest.mark.filterwarnings(  # "does not have many workers", "no val_dataloader", "dataloader is not resumable"
        "ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"
    )
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(_ADVICE)
