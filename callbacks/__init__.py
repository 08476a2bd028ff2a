"""Callbacks from training to evidence; each works alone in any Lightning project."""

from picochat.callbacks.atomic_io import AtomicCheckpointIO
from picochat.callbacks.benchmark_metrics import BenchmarkMetrics
from picochat.callbacks.best_checkpoint import BestCheckpoint
from picochat.callbacks.early_stop import EarlyStop
from picochat.callbacks.graceful_stop import GracefulStop
from picochat.callbacks.grad_clip import GradientClip
from picochat.callbacks.last_checkpoint import LastCheckpoint
from picochat.callbacks.lr_schedule import LRSchedule, lr_factor
from picochat.callbacks.run_logger import RunLogger
from picochat.callbacks.run_report import RunReport
from picochat.callbacks.spike_guard import SpikeGuard, is_spike
from picochat.callbacks.throughput import Throughput

__all__ = [
    "AtomicCheckpointIO",
    "BenchmarkMetrics",
    "BestCheckpoint",
    "EarlyStop",
    "GracefulStop",
    "GradientClip",
    "LRSchedule",
    "LastCheckpoint",
    "RunLogger",
    "RunReport",
    "SpikeGuard",
    "Throughput",
    "is_spike",
    "lr_factor",
]
