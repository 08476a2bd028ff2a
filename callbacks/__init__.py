"""Callbacks from training to evidence; each works alone in any Lightning project: `Trainer(callbacks=[LRSchedule()])`,
or in a config: `callbacks: [{class_path: picochat.callbacks.LRSchedule, init_args: {warmup_steps: 20}}]`.
"""

from picochat.callbacks.benchmark_metrics import BenchmarkMetrics
from picochat.callbacks.best_checkpoint import BestCheckpoint
from picochat.callbacks.grad_clip import GradientClip
from picochat.callbacks.last_checkpoint import AtomicCheckpointIO, GracefulStop, LastCheckpoint
from picochat.callbacks.lr_schedule import LRSchedule, lr_factor
from picochat.callbacks.progress import Progress, RunReport
from picochat.callbacks.run_logger import RunLogger
from picochat.callbacks.throughput import Throughput

__all__ = [
    "AtomicCheckpointIO",
    "BenchmarkMetrics",
    "BestCheckpoint",
    "GracefulStop",
    "GradientClip",
    "LRSchedule",
    "LastCheckpoint",
    "Progress",
    "RunLogger",
    "RunReport",
    "Throughput",
    "lr_factor",
]
