"""With what a command ends that was told to stop."""

INTERRUPTED = 130
"""After Ctrl-C; larger codes are those of other signals, as a shell counts them."""
