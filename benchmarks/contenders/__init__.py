"""Other ways to train the same models on the same rows, each in a process of its own.

They follow their authors' examples; only the data and the settings are ours.
"""
