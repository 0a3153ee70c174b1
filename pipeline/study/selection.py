"""Owns studies: files that hold a selection, and how one of them gets into params.yaml."""

from pathlib import Path

from gan.config import SelectParams, parse_params
from gan.contract import StrictModel
from gan.errors import ConfigError
from gan.faults import read_checked
from gan.files import write_bytes
from pipeline.study.params_file import replace_selection

STUDIES = Path("studies")
DEFAULT = "default"


class Study(StrictModel):
    """The whole of a study's file."""

    select: SelectParams


def read_study(name: str) -> SelectParams:
    """Read studies/NAME.yaml. Raises ConfigError, naming the studies there are when there isn't this one."""
    path = STUDIES / f"{name}.yaml"
    known = sorted(study.stem for study in STUDIES.glob("*.yaml"))
    if name not in known:
        raise ConfigError(f"no study {name!r}; there are {', '.join(known) or f'none in {STUDIES}/'}")
    study: Study = read_checked(path, Study)
    return study.select


def select_study(name: str, path: Path) -> SelectParams:
    """Write a study's selection into params.yaml; every other line stays as it is, byte for byte.

    The result is checked before it gets the name. Raises ConfigError with what is wrong with it.
    """
    selection = read_study(name)
    text = replace_selection(path.read_text(encoding="utf-8"), selection.model_dump())
    try:
        parse_params(text, path)
    except ConfigError as error:
        faults = str(error).replace(f"{path}:", f"{path} with {STUDIES / name}.yaml:")
        raise ConfigError(f"{faults}\nnothing was written") from error
    write_bytes(path, text.encode())
    return selection


def check_default(selection: SelectParams) -> None:
    """Raise ConfigError when this isn't the selection that is to be committed."""
    if selection != read_study(DEFAULT):
        raise ConfigError(
            f"params.yaml: its selection isn't that of {STUDIES / DEFAULT}.yaml; "
            f"run 'gantry select {DEFAULT}', or change the default study too"
        )
