"""Which number formats a device multiplies in hardware. Next: optim, `picochat fit` and benchmarks choose by it.

Where a format is missing, torch emulates it: bfloat16 products take five to twenty times as long as float32 ones there.
"""

from functools import cache

import torch

_CPU_UNITS = {  # format → the CPU's capabilities, as torch names them, that multiply it
    torch.bfloat16: ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"),
    torch.float16: ("avx512_fp16", "amx_fp16", "fp16"),
}
_NARROWED = ("DEFAULT", "AVX2")  # x86 kernels without these units: by the hardware, or by ATEN_CPU_CAPABILITY


@cache
def multiplies_in_hardware(device_type: str) -> frozenset[torch.dtype]:
    """The floating-point formats that a device of this type ("cpu", "cuda", "mps") multiplies in hardware."""
    half: set[torch.dtype] = set()
    if device_type == "cuda" and torch.cuda.is_available():
        half = {torch.float16}
        if torch.cuda.is_bf16_supported(including_emulation=False):
            half.add(torch.bfloat16)
    elif device_type == "cpu":
        found = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        if not (found.get("architecture") == "x86_64" and torch.backends.cpu.get_cpu_capability() in _NARROWED):
            half = {dtype for dtype, units in _CPU_UNITS.items() if any(found.get(unit) for unit in units)}
    return frozenset({torch.float32, *half})


def preferred_dtype(device_type: str) -> torch.dtype:
    """bfloat16 where the device multiplies it, else float32."""
    return torch.bfloat16 if torch.bfloat16 in multiplies_in_hardware(device_type) else torch.float32
