"""Skills, one file each. In: stages and keys. Out: problems with answers and steps. Next: picochat.packs.generation."""
