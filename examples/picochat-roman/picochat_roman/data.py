"""From the profile to batches. In: nothing prepared. Out: what picochat.datamodules.ChatDataModule gives."""

from picochat.datamodules import ChatDataModule


class RomanDataModule(ChatDataModule):
    """Rows of the profile "romans", made when they are missing."""

    profile = "romans"
