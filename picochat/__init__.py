"""picochat: train small chat models in honest stages, and prove which lane of a task mixture helped or failed."""

__version__ = "0.1.0"
