"""Release behaviour: identity, boundaries, refusal; no broad skill is taught."""

from picochat.datamodules.base import ChatDataModule


class ReleaseDataModule(ChatDataModule):
    """Rows of the release profile, made when they are missing. Its answers are direct, whatever the skills do."""

    profile = "release"
