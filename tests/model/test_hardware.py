"""Number formats follow what the hardware multiplies: in training, in the optimizer and in generation."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from exact_run import make_data
from tiny_model import FIT, Watch

from picochat.cli import main
from picochat.model import hardware

PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "linear", "scaled_dot_product")


@pytest.mark.parametrize("half", [False, True], ids=["without bfloat16", "with bfloat16"])
@pytest.mark.filterwarnings("ignore:.*does not have many workers")  # lightning's advice on machines with many cores
def test_no_product_is_in_a_format_that_would_be_emulated(
    half: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "multiplies_bfloat16", lambda device_type: half)
    make_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    seen: dict[str, set[torch.dtype]] = {}  # formats of the operands of every matrix product, attention included

    def see(name: str, args: Any) -> None:
        if (name := name.removeprefix("aten::").strip("_")).startswith(PRODUCTS):
            operands = (one.dtype for one in args if isinstance(one, torch.Tensor) and one.is_floating_point())
            seen.setdefault(name, set()).update(operands)

    with Watch(see):
        main([*FIT, "--trainer.default_root_dir=run", "--model.optimizer.name=muon", "--trainer.max_steps=2"])
    assert {"mm", "bmm", "baddbmm"} <= seen.keys()  # of the layers, of Muon
    assert any("scaled_dot_product" in name for name in seen)
    assert set().union(*seen.values()) == {torch.float32, *([torch.bfloat16] if half else [])}
    assert seen["baddbmm"] == {torch.bfloat16 if half else torch.float32}  # Muon's


def test_the_c_library_is_asked_to_keep_freed_memory_where_it_has_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    libraries = [SimpleNamespace(mallopt=lambda *setting: asked.append(setting)), SimpleNamespace()]
    monkeypatch.setattr("ctypes.CDLL", lambda name: libraries.pop(0))
    hardware.keep_freed_memory()
    hardware.keep_freed_memory()  # macOS: no such function
    assert asked == [(-1, 2**31 - 1), (-3, 2**25)]  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
