"""The one exception that users see. Anything else that reaches the terminal is a bug and keeps its traceback."""


class UserError(Exception):
    """What the user can put right: bad input, a bad setting, a missing file.

    The message is one sentence (or two) that names the file and line or the setting, and the remedy. The command line
    prints it on stderr as ``picochat: error: …`` and exits with status 2; nothing has been written by then.
    """
