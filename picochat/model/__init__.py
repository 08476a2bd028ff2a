"""The model. In: conversations and documents as text, batches of packed rows. Out: weights, replies. Next: evidence.

    tokenizer ─► decoder (attention) ─► loss, optim ─► module        training
                 checkpoint ─► decoder ─► inference ─► generation     answering

Names are imported from their modules; importing this package imports nothing, torch least of all.
"""
