"""Stage `report`: a page and one for each variant, the leaderboard, the means over seeds, and figures."""

from gan.config import Params
from pipeline.report.write import write_report
from pipeline.stage import run_stage


def main(params: Params, _: str) -> None:
    """Write the report of the selection and say where it is."""
    print(write_report(params))


if __name__ == "__main__":
    run_stage(main, "")
