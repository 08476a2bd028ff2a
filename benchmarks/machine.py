"""The machine that figures come from: what it multiplies fastest, and how to use less of it. Next: report.

    python benchmarks/run.py --narrow        a newer CPU computes as an older one does: AVX2 and float32

Results are labelled by instruction set, and take the precision that the set multiplies in hardware:

    AVX2           fp32      most laptops and cloud machines
    AVX512         fp32
    AVX512-bf16    bf16      from Zen 4 and Cooper Lake on
    NVIDIA H200    bf16      a GPU is labelled by its name
"""

import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

NARROW = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
LOAD_BEFORE = os.getloadavg()[1]  # of the five minutes before this script began
PACKAGES = ("torch", "lightning", "tokenizers", "transformers", "datasets", "trl")


def label(device: str = "cpu") -> str:
    """The instruction set in use, as torch and oneDNN see it under the variables of NARROW; of a GPU its name."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    name = torch.backends.cpu.get_cpu_capability()
    return f"{name}-bf16" if precision() == "bf16" else name


def precision(device: str = "cpu") -> str:
    """bf16 where it is multiplied in hardware, else fp32: emulated, a product takes 7 to 15 times as long."""
    import torch

    from picochat.model.hardware import preferred_dtype

    return "bf16" if preferred_dtype(torch.device(device).type) == torch.bfloat16 else "fp32"


def describe() -> dict[str, Any]:
    """Where and with what a figure was taken."""
    import torch

    cpu = Path("/proc/cpuinfo")
    model = re.search(r"^model name\s*: (.*)$", cpu.read_text("utf-8") if cpu.exists() else "", flags=re.MULTILINE)
    return {
        "day": datetime.now(UTC).date().isoformat(),
        "processor": model[1] if model else platform.processor() or platform.machine(),
        **({"narrowed": "yes"} if NARROW.items() <= os.environ.items() else {}),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_before": round(LOAD_BEFORE, 1),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES if find_spec(package)},
    }
