"""The profiles of the recipe as data modules: a plug-in is a class that names its mixture. Next: base."""

from picochat.datamodules.base import ChatDataModule


class ReleaseDataModule(ChatDataModule):
    """Identity, boundaries and refusal; no broad skill is taught. Answers are direct, whatever the skills do."""

    profile = "release"


class CapabilityDataModule(ChatDataModule):
    """Fragile closed-book skills (short arithmetic, spelling) with identity and refusal as anchors."""

    profile = "capability"


class BalancedDataModule(ChatDataModule):
    """Release behaviour, skills and benchmarks side by side: broad research diagnostics, no public claim."""

    profile = "balanced"


class BenchmarkDataModule(ChatDataModule):
    """Choice, arithmetic, spelling and behaviour as benchmarks ask for them."""

    profile = "benchmark"
