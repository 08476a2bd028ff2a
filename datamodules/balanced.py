"""Balanced: release behaviour, skills and benchmark questions together; a research diagnostic."""

from picochat.datamodules.base import ChatDataModule


class BalancedDataModule(ChatDataModule):
    """Rows of the balanced profile, made when they are missing."""

    profile = "balanced"
