"""Benchmark: choice questions, maths and spelling, with a little identity and refusal."""

from picochat.datamodules.base import ChatDataModule


class BenchmarkDataModule(ChatDataModule):
    """Rows of the benchmark profile, made when they are missing."""

    profile = "benchmark"
