"""The one exception for what the user gave: a file, a folder, a flag, an argument."""


class InputError(ValueError):
    """What the user gave cannot be used.

    The message is shown as it is, without a traceback. It says what was expected, what came, what
    is allowed, and where: `file:line` for a label, the path for a file, the name for a flag.
    """
