"""The one error a user is meant to read."""


class UserError(Exception):
    """One line for the user: what was given, what is allowed, what to do.

    The command line prints it on standard error and exits with status 2, without a traceback.
    Raised at the edges (configuration, files, ports, models), never in the pure core.
    """
