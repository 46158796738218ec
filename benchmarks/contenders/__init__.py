"""Other ways to train the same models on the same rows, each a process of its own.

They stand here as their authors' examples have them; only the data and the settings are ours.
"""
