"""What all tests share: nothing is written outside pytest's temporary folders, and torch keeps to one thread."""

import gc
import importlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import hypothesis
import pytest
from refusing import refused

__all__ = ["refused"]

os.environ["OMP_NUM_THREADS"] = "1"  # for torch here and in every subprocess: tests run beside each other
os.environ["TOKENIZERS_PARALLELISM"] = "false"  # it warns when a process forks after use

# a machine that does something else for a moment makes no example slow; each file's own settings build on this.
# No fixture of ours holds what an example changes.
IGNORED = [hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture]
hypothesis.settings.register_profile("picochat", deadline=None, suppress_health_check=IGNORED)
hypothesis.settings.load_profile("picochat")

_NOT_OURS = [
    # lightning 2.6 asks torch ≥ 2.12 in the old way (lightning/pytorch/utilities/_pytree.py)
    r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning",
    # lightning 2.6 calls jsonargparse ≥ 4.5x by an old name (lightning/pytorch/cli.py, instantiate_classes)
    "ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning",
    # lightning finds Slurm on this machine, and tests that it did not start
    "ignore:The `srun` command is available on your system",
]


def pytest_configure(config: pytest.Config) -> None:
    for line in _NOT_OURS:
        config.addinivalue_line("filterwarnings", line)


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """$PICOCHAT_CACHE for this session, subprocesses included; ~/.cache is never touched."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PICOCHAT_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module", autouse=True)
def closed_files() -> Iterator[None]:
    """A datamodule's files stay open until its cycle of references is collected: hundreds of tests later, if left."""
    yield
    gc.collect()


@pytest.fixture(scope="module", autouse=True)
def open_stream() -> None:
    """Lightning logs to what stderr was when it was imported: perhaps to what a test captured, which is closed now."""
    for name in ("lightning", "lightning.fabric", "lightning.pytorch"):
        logging.getLogger(name).propagate = True  # to caplog; else only if pytest logged already when it was imported
        for handler in logging.getLogger(name).handlers:
            if type(handler) is logging.StreamHandler:  # and none of pytest's
                handler.stream = sys.stderr  # setStream would flush the closed one


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Imports a script of benchmarks/ by its bare name, as the scripts import each other."""
    folder = Path(__file__).parents[1] / "benchmarks"
    monkeypatch.syspath_prepend(str(folder))
    yield importlib.import_module
    for path in folder.glob("*.py"):  # and no module of others, whose classes would then exist twice
        sys.modules.pop(path.stem, None)
