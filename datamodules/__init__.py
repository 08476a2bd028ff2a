"""From packs to batches. Public names, imported when first asked for: packing, sampling and plan need no torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from picochat.datamodules.balanced import BalancedDataModule as BalancedDataModule
    from picochat.datamodules.base import ChatDataModule as ChatDataModule
    from picochat.datamodules.benchmark import BenchmarkDataModule as BenchmarkDataModule
    from picochat.datamodules.capability import CapabilityDataModule as CapabilityDataModule
    from picochat.datamodules.corpus import CorpusDataModule as CorpusDataModule
    from picochat.datamodules.release import ReleaseDataModule as ReleaseDataModule

_HOME = {
    "BalancedDataModule": "balanced",
    "BenchmarkDataModule": "benchmark",
    "CapabilityDataModule": "capability",
    "ChatDataModule": "base",
    "CorpusDataModule": "corpus",
    "ReleaseDataModule": "release",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
