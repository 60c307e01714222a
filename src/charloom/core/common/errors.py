"""What can go wrong, each kind with the exit code that the command line gives it.

A message is one line: what is wrong, what was found, what to do.
"""


class CharloomError(Exception):
    """A failure that the user can do something about; anything else is a bug."""

    exit_code = 1


class ConfigError(CharloomError):
    """A key, a type or a range in the configuration."""

    exit_code = 2


class DataError(CharloomError):
    """The corpus, or a text that is given."""

    exit_code = 3


class StateError(CharloomError):
    """A checkpoint or a model, or a training that has left the finite numbers."""

    exit_code = 4


class EnvironmentFault(CharloomError):
    """The world around: disk, lock, port, permission, network."""

    exit_code = 5


class GradientError(CharloomError):
    """The analytic gradient is not the gradient of the loss."""

    exit_code = 6
