"""Stage `collect`: writes the digests of a cell's results into the folder of the study that selects it.

Stages that need all cells depend on that folder alone. If they depended on the folders of results instead,
the cells of other studies would make them stale.
"""

from gan.config import Params
from gan.files import sha256_of, write_json
from pipeline.stage import collected, parse_cell, run_stage, selected_cells


def main(params: Params, key: str) -> None:
    """Write build/collected/STUDY/KEY.json, and remove the files of cells that are no longer selected."""
    cell = parse_cell(key, params)
    kept = {collected(params, selected) for selected in selected_cells(params)}
    target = collected(params, cell)
    for path in target.parent.glob("*.json"):
        if path not in kept:
            path.unlink(missing_ok=True)  # another cell's stage may be doing the same
    files = [path for left in cell.leaves for path in ([left] if left.is_file() else sorted(left.rglob("*")))]
    write_json(target, {path.as_posix(): sha256_of(path) for path in files if path.is_file()})


if __name__ == "__main__":
    run_stage(main)
