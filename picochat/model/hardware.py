"""What the machine does fast: which number format it multiplies, how it keeps memory. Next: optim, `picochat fit`.

Where bfloat16 is missing, torch emulates it: products then take 7 to 20 times as long as in float32.
"""

import contextlib
import ctypes
import os
from functools import cache
from typing import Any

import torch


@cache
def multiplies_bfloat16(device_type: str) -> bool:
    """Whether devices of this type ("cpu", "cuda", "mps") multiply bfloat16 in hardware."""
    if device_type == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    # oneDNN may be told to use less than the CPU has
    if device_type != "cpu" or not getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", bool)():
        return False
    units: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older torch does not tell
    return any(units.get(unit) for unit in ("avx512_bf16", "amx_bf16", "sve_bf16", "bf16"))


def preferred_dtype(device_type: str) -> torch.dtype:
    """bfloat16 where the device multiplies it, else float32."""
    return torch.bfloat16 if multiplies_bfloat16(device_type) else torch.float32


def memory_of(device: torch.device) -> int:
    """Bytes of memory that a device has; a CPU has the machine's."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def keep_freed_memory() -> None:
    """Let glibc keep what a training step frees, up to 32 MiB a tensor: thousands of page faults fewer a step."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt, trim_threshold, mmap_threshold = ctypes.CDLL(None).mallopt, -1, -3
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_threshold, 2**25)
