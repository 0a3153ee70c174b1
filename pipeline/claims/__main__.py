"""Stage `claims`: the verdicts on the ancestors' claims, as a page, as Markdown and as JSON."""

from gan.config import Params
from pipeline.claims.verdicts import write_verdicts
from pipeline.stage import REPORTS, run_stage


def main(params: Params, folder: str) -> None:
    """Judge all claims and write build/reports/FOLDER."""
    print(write_verdicts(REPORTS / folder, params))


if __name__ == "__main__":
    run_stage(main, "FOLDER")
