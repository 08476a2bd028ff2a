"""The run folder with a small model that has learnt eight rows by heart, for all tests of commands."""

from test_evaluate import run_folder

__all__ = ["run_folder"]
