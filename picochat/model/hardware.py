"""What the machine does fast: which number formats it multiplies, how it keeps memory. Next: optim, `picochat fit`.

Where a format is missing, torch emulates it: bfloat16 products then take 7 to 20 times as long as float32 ones.
"""

import contextlib
import ctypes
import os
from functools import cache
from typing import Any

import torch

_CPU_UNITS: dict[str, tuple[Any, ...]] = {  # format, and the CPU's units, as torch names them, that multiply it
    "bf16": (torch.bfloat16, "avx512_bf16", "amx_bf16", "sve_bf16", "bf16"),
    "fp16": (torch.float16, "avx512_fp16", "amx_fp16", "fp16"),
}


@cache
def multiplies_in_hardware(device_type: str) -> frozenset[torch.dtype]:
    """The floating-point formats that a device of this type ("cpu", "cuda", "mps") multiplies in hardware."""
    half: set[torch.dtype] = set()
    if device_type == "cuda" and torch.cuda.is_available():
        half = {torch.float16}
        if torch.cuda.is_bf16_supported(including_emulation=False):
            half.add(torch.bfloat16)
    elif device_type == "cpu" and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        units: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older torch does not tell
        for name, (dtype, *those) in _CPU_UNITS.items():
            used = getattr(torch.ops.mkldnn, f"_is_mkldnn_{name}_supported")()  # oneDNN may be told to use less
            if used and any(units.get(unit) for unit in those):
                half.add(dtype)
    return frozenset({torch.float32, *half})


def memory_of(device: torch.device) -> int:
    """Bytes of memory that a device has; a CPU has the machine's."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def preferred_dtype(device_type: str) -> torch.dtype:
    """bfloat16 where the device multiplies it, else float32."""
    return torch.bfloat16 if torch.bfloat16 in multiplies_in_hardware(device_type) else torch.float32


def keep_freed_memory() -> None:
    """Let the C library keep what a training step frees, up to 32 MiB a tensor, for the next step.

    glibc gives it back and asks for the same pages again: thousands of page faults a step. Others have no such setting.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt, trim_threshold, mmap_threshold = ctypes.CDLL(None).mallopt, -1, -3
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_threshold, 2**25)
