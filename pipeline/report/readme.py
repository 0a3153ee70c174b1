"""Owns README's results: the picture and the table between two markers, from leaderboard.json alone.

That file is committed, so README can be checked in a clone that never ran anything.
"""

from pathlib import Path

from gan.config import Params
from gan.errors import ConfigError
from gan.files import write_bytes
from pipeline.report.leaderboard import make_boards
from pipeline.report.markdown import board_markdown
from pipeline.report.rows import rows_from_json
from pipeline.stage import published_folder

README = Path("README.md")
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def readme_block(params: Params) -> str:
    """Write the picture and one table a data set as Markdown, from the selected study's committed report."""
    folder = published_folder(params)
    boards = make_boards(rows_from_json(folder / "leaderboard.json"), params.evaluate.reference)
    picture = f"![The same noise through every variant]({folder.as_posix()}/samples.png)"
    page = f"{folder.as_posix()}/index.html"
    parts = [picture, *(board_markdown(board) for board in boards)]
    return "\n\n".join([*parts, f"Samples over time, curves, parameters and hashes: `{page}`."])


def write_readme(params: Params) -> None:
    """Replace the text between README's markers. Raises ConfigError when they are missing."""
    before, _, after = _split_readme()
    write_bytes(README, f"{before}{BEGIN}\n{readme_block(params)}\n{END}{after}".encode())


def check_readme(params: Params) -> None:
    """Raise ConfigError when README's results are not those of the report."""
    _, found, _ = _split_readme()
    if found.strip() != readme_block(params).strip():
        raise ConfigError(
            f"{README}: its results differ from {published_folder(params)}/leaderboard.json; "
            "run 'gantry report --readme'"
        )


def _split_readme() -> tuple[str, str, str]:
    text = README.read_text(encoding="utf-8") if README.exists() else ""
    before, begin, rest = text.partition(BEGIN)
    found, end, after = rest.partition(END)
    if not begin or not end:
        raise ConfigError(f"{README}: no '{BEGIN}' with '{END}' after it; put both where the results belong")
    return before, found, after
