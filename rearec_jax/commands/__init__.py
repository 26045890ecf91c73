"""The modes of the program: one file a --mode, with its flags and the call that they start."""
