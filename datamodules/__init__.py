"""From packs to batches. Public names, imported when first asked for: packing, sampling and plan need no torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from picochat.datamodules.balanced import BalancedDataModule
    from picochat.datamodules.base import ChatDataModule
    from picochat.datamodules.benchmark import BenchmarkDataModule
    from picochat.datamodules.capability import CapabilityDataModule
    from picochat.datamodules.corpus import CorpusDataModule
    from picochat.datamodules.release import ReleaseDataModule

__all__ = [
    "BalancedDataModule",
    "BenchmarkDataModule",
    "CapabilityDataModule",
    "ChatDataModule",
    "CorpusDataModule",
    "ReleaseDataModule",
]

_HOME = {
    "BalancedDataModule": "balanced",
    "BenchmarkDataModule": "benchmark",
    "CapabilityDataModule": "capability",
    "ChatDataModule": "base",
    "CorpusDataModule": "corpus",
    "ReleaseDataModule": "release",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
