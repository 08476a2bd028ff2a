"""From packs to batches. Public names, imported when first asked for: packing, sampling and plan need no torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from picochat.datamodules.base import ChatDataModule as ChatDataModule
    from picochat.datamodules.corpus import CorpusDataModule as CorpusDataModule
    from picochat.datamodules.profiles import BalancedDataModule as BalancedDataModule
    from picochat.datamodules.profiles import BenchmarkDataModule as BenchmarkDataModule
    from picochat.datamodules.profiles import CapabilityDataModule as CapabilityDataModule
    from picochat.datamodules.profiles import ReleaseDataModule as ReleaseDataModule

_HOME = {
    "BalancedDataModule": "profiles",
    "BenchmarkDataModule": "profiles",
    "CapabilityDataModule": "profiles",
    "ChatDataModule": "base",
    "CorpusDataModule": "corpus",
    "ReleaseDataModule": "profiles",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
