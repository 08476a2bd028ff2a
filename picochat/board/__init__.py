"""A local page over a folder of runs: folder.py reads it, app.py serves it and lets checkpoints reply."""
