"""Capability: fragile closed-book skills (short arithmetic, spelling) with identity and refusal as anchors."""

from picochat.datamodules.base import ChatDataModule


class CapabilityDataModule(ChatDataModule):
    """Rows of the capability profile, made when they are missing."""

    profile = "capability"
