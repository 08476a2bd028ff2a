"""A local page over a folder of runs: folder.py reads it, talk.py lets checkpoints reply, app.py serves both."""
