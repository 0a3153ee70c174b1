"""The errors that are the user's or the world's fault, each with the exit code that a stage ends with.

GanError
├── ConfigError        a parameter, a name or a command that can't be used
├── DataError          bytes that are not what they should be
├── CheckpointError    no usable state to resume from
└── TrainingDiverged   a loss that is no longer finite

A caller's programming error stays a ValueError or a TypeError, with its traceback. Every message
says what was found, where, and what to do about it. Codes are those of BSD's sysexits.h.
"""


class GanError(Exception):
    """What was found, where, and what to do about it: one line per fault."""

    exit_code = 70


class ConfigError(GanError):
    """A parameter, a name or a command can't be used as it stands."""

    exit_code = 78


class DataError(GanError):
    """A file's content is not what its manifest or its format promises."""

    exit_code = 65


class CheckpointError(GanError):
    """Checkpoints exist, and none of them can be trusted."""

    exit_code = 65


class TrainingDiverged(GanError):
    """A loss or a statistic of training is no longer finite; `values` are those that were read with it."""

    exit_code = 65

    def __init__(self, message: str, values: dict[str, float] | None = None) -> None:
        super().__init__(message)
        self.values = values or {}
