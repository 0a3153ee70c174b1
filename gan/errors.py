"""Errors caused by the user or the environment rather than by a bug, each with its exit code.

GanError
├── ConfigError        a parameter, a name or a command that can't be used
├── DataError          bytes that are not what they should be
├── CheckpointError    no usable state to resume from
├── DeviceError        a GPU that is there and doesn't answer
└── TrainingDiverged   a loss that is no longer finite

Programming errors are ValueError or TypeError, with a traceback. Every message says what is wrong, where,
and what to do about it. Codes are those of BSD's sysexits.h.
"""


class GanError(Exception):
    """Base class. The message says what is wrong, where, and what to do about it: one line per fault."""

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


class DeviceError(GanError):
    """A device that should be there doesn't answer."""

    exit_code = 69


class TrainingDiverged(GanError):
    """A value of training is no longer finite; `values` holds all that were read in that step."""

    exit_code = 65

    def __init__(self, message: str, values: dict[str, float] | None = None) -> None:
        super().__init__(message)
        self.values = values or {}
