import csv
import dataclasses
import io
import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan.card import Card, write_card
from gan.config import Params, load_params
from gan.contract import ImageShape
from gan.errors import ConfigError, DataError
from gan.files import read_json, write_bytes, write_json
from pipeline.drawing.numbers import fixed, percent, short_number, write_value
from pipeline.drawing.pictures import animate, data_uri, encode_png, enlarge, lay_out, png_uri, read_grid
from pipeline.drawing.svg import ticks, value_range
from pipeline.report import write as report
from pipeline.report.columns import make_table, metric_lines
from pipeline.report.history_charts import CHARTS, draw_charts
from pipeline.report.leaderboard import Board, make_boards, summarise
from pipeline.report.markdown import board_markdown
from pipeline.report.readme import check_readme, readme_block, write_readme
from pipeline.report.results import pictured
from pipeline.report.rows import Row, rows_from_json
from pipeline.report.sentences import position, seed_lines, summary
from pipeline.report.write import publish_reports, write_report
from pipeline.scores.history import write_history
from pipeline.scores.protocol import make_protocols, write_protocols
from pipeline.stage import Cell, selected_cells
from tests.courses import write_course
from tests.parameters import copy_parameters

ROOT = Path(__file__).parents[3]
REPORT, COMMITTED = Path("build/reports/default"), Path("reports")
SUFFIXES = {"": 1.0, "_raw": 1.5}
HASH = "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def quick_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the figures out, which take a second a report, where a test is about something else."""
    if "figures" not in request.node.name:
        monkeypatch.setattr(
            report, "draw_figures", lambda board, rows, strands: {f"{board.dataset}.svg": b"drawn"}
        )


def select(params: Params, variants: list[str], seeds: list[int]) -> Params:
    lists = {"datasets": ["mnist_tiny"], "variants": variants, "budgets": ["quick"], "seeds": seeds}
    counts = params.samples | {"mnist_tiny": 200}
    chosen = params.select.model_copy(update={**lists, "study": "default"})
    return params.model_copy(update={"select": chosen, "samples": counts})


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """Two cells with artefacts in an empty directory: dcgan, which is good, and wgan, which is poor."""
    loaded = select(load_params(ROOT / "params.yaml"), ["dcgan", "wgan"], [0])
    copy_parameters(tmp_path)
    monkeypatch.chdir(tmp_path)
    write_json(Path("build/champions/default.json"), {"mnist_tiny": {"key": "mnist_tiny-dcgan-quick-0"}})
    evaluator = {"name": "mnistnet", "sha256": HASH, "accuracy": 0.975, "classes": 10}
    write_json(Path("build/evaluators/mnist_tiny/card.json"), evaluator)
    sheet = encode_png(np.full((8, 8, 1), 7, np.uint8))
    write_bytes(Path("build/contact/mnist_tiny.png"), sheet)
    for cell, fid, classes in zip(selected_cells(loaded), (40.0, 900.0), (10, 3), strict=True):
        write_cell(cell, loaded, fid, classes)
    return loaded


def write_cell(
    cell: Cell, params: Params, fid: float, classes: int, *, diverged_at: int | None = None
) -> None:
    method = params.recipes[cell.dataset][cell.variant].method
    card = Card(
        format=1,
        key=cell.key,
        dataset=cell.dataset,
        variant=cell.variant,
        kind=method.kind,
        image=[1, 28, 28],
        method=method,
        steps=4000,
        images_seen=128000,
        seed=cell.seed,
        precision="fp32",
        num_threads=1,
        channels_last=True,
        ema_exponent=17.97,
        data_digest=HASH,
        code_digest=HASH,
        weights_sha256=HASH,
        raw_weights_sha256=HASH,
        status="diverged" if diverged_at else "finished",
        diverged_at=diverged_at,
    )
    write_card(cell.model, card)
    versions = {"python": "3.12.3", "torch": "2.14.1", "gantry": "0.1.0"}
    times = {"seconds": 90.0, "images_per_second": 1422.2, "device": "cpu", "cpu": "x86_64"}
    times |= {"snapshot_seconds": {"0": 0.0, "2000": 45.0, "4000": 90.0}}
    write_json(cell.training, times | {"versions": versions, "started": "2026-01-01T00:00:00+00:00"})
    write_course(cell, [(0, 8000.0), (2000, fid + 20.0), (4000, fid + 10.0)], "train", per_step=32)
    scores = {"fid": fid, "kid": fid / 1000, "classes": classes, "confident": 0.9}
    named = {
        f"{name}_mnistnet_200_test{end}": value * factor
        for name, value in scores.items()
        for end, factor in SUFFIXES.items()
    }
    scale = {"fid": (5.0, 10000.0), "kid": (-0.001, 30.0), "classes": (10, 1), "confident": (0.99, 0.2)}
    for name, (floor, ceiling) in scale.items():
        named |= {f"{name}_mnistnet_200_test_floor": floor, f"{name}_mnistnet_200_test_ceiling": ceiling}
    write_json(cell.metrics, named)
    reference = {"data_digest": HASH, "split": "test", "n": 200, "device": "cpu"}
    evaluator = {"name": "mnistnet", "sha256": HASH}
    write_protocols(cell, make_protocols(cell, params, evaluator, reference))
    images = np.random.default_rng(0).integers(0, 256, (200, 1, 28, 28), dtype=np.uint8)
    cell.samples.mkdir(parents=True)
    np.save(cell.samples / "averaged.npy", images)
    np.save(cell.samples / "interpolation.npy", images[:80].reshape(8, 10, 1, 28, 28))
    np.save(cell.samples / "nearest.npy", images[80:88])
    write_json(cell.samples / "nearest.json", {"numbers": [3] * 8, "distances": [41.4] * 8})
    write_previews(cell.model / "previews", images[:64])
    np.save(cell.trajectory / "images.npy", images[:192].reshape(3, 64, 1, 28, 28))
    scalars = {"loss/critic": 1.0, "loss/generator": 2.0}
    scalars |= {"critic/wasserstein": 0.5} if cell.variant == "wgan" else {}
    rows = [{"step": step, "images_seen": step * 32} | scalars for step in (1000, 2000, 4000)]
    if diverged_at:
        last = {"step": diverged_at, "images_seen": diverged_at * 32}
        rows = [*rows[:1], last | dict.fromkeys(scalars, math.nan)]
    write_history(cell, rows)


def write_previews(folder: Path, images: np.ndarray) -> None:
    canvas = np.full((8 * 30 + 2, 8 * 30 + 2), 64, np.uint8)
    for index, image in enumerate(images):
        top, left = 2 + 30 * (index // 8), 2 + 30 * (index % 8)
        canvas[top : top + 28, left : left + 28] = image[0]
    folder.mkdir(parents=True)
    for step in (2000, 4000):
        Image.fromarray(canvas).convert("RGB").save(folder / f"{step:06d}.png")


ROSTER = (
    "gan",
    "dcgan",
    "lsgan",
    "wgan",
    "wgan_gp",
    "wgan_gp_resnet",
    "ebgan",
    "ebgan_pt",
    "began",
    "dragan",
)
ROSTER += ("coulomb", "wgan_l2", "wgan_gauss", "wgan_merged")


@pytest.fixture
def study(params: Params) -> Params:
    """Fourteen cells, of which `gan` covers nine classes and `coulomb` and `ebgan` have other noise.

    A fifteenth, `wgan_l2_as_coded`, diverged at step 812 with the best score of all.
    """
    recipes = dict(params.recipes["mnist_tiny"])
    for name in (*ROSTER, "wgan_l2_as_coded"):
        recipe = recipes.get(name, recipes["dcgan"])
        law = {"z_dim": 64, "noise": "uniform"} if name in ("coulomb", "ebgan") else {}
        recipes[name] = recipe.model_copy(update={"method": recipe.method.model_copy(update=law)})
    loaded = params.model_copy(update={"recipes": {"mnist_tiny": recipes}})
    loaded = select(loaded, [*ROSTER, "wgan_l2_as_coded"], [0])
    for path in ("models", "build/samples"):
        shutil.rmtree(path)
    for rank, cell in enumerate(selected_cells(loaded)):
        if cell.variant == "wgan_l2_as_coded":
            write_cell(cell, loaded, 20.0, 10, diverged_at=812)
        else:
            write_cell(cell, loaded, 30.0 + 10 * rank, 9 if cell.variant == "gan" else 10)
    write_json(Path("build/champions/default.json"), {"mnist_tiny": {"key": "mnist_tiny-gan-quick-0"}})
    return loaded


def page_of(name: str) -> str:
    return (REPORT / "variants" / f"{name}.html").read_text(encoding="utf-8")


def read_rows() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads((REPORT / "leaderboard.json").read_text())
    return rows


def test_the_page_shows_the_images_that_were_learned_from(params: Params) -> None:
    page = write_report(params).read_text(encoding="utf-8")
    assert png_uri(Path("build/contact/mnist_tiny.png").read_bytes()) in page


def test_a_page_names_no_address_outside_its_report(params: Params) -> None:
    write_report(params)
    pages = {path.relative_to(REPORT).as_posix(): path for path in REPORT.rglob("*.html")}
    assert set(pages) == {"index.html", "variants/dcgan.html", "variants/wgan.html"}
    for name, path in pages.items():
        text = re.sub(r"data:image/(png|webp);base64,[A-Za-z0-9+/=]+", "data:", path.read_text())
        assert re.search(r"https?:|//|@import|url\(|<script", text) is None
        for address in re.findall(r'(?:src|srcset|href)="([^"]*)"', text):
            if address != "data:":
                target, _, anchor = address.partition("#")
                other = (REPORT / name).parent.joinpath(target).resolve() if target else path.resolve()
                assert other in {page.resolve() for page in pages.values()}
                assert not anchor or f'id="{anchor}"' in other.read_text()


def test_every_selected_cell_has_a_row_in_every_file(params: Params) -> None:
    write_report(params)
    keys = {cell.key for cell in selected_cells(params)}
    assert keys == {f"{r['dataset']}-{r['variant']}-{r['budget']}-{r['seed']}" for r in read_rows()}
    assert len((REPORT / "leaderboard.csv").read_text().splitlines()) == 1 + len(keys)
    assert all(f"register@{cell.key}" in page_of(cell.variant) for cell in selected_cells(params))


def test_rows_are_flat_and_complete(params: Params) -> None:
    write_report(params)
    fields = {"dataset", "variant", "budget", "seed", "profile", "steps", "images_seen", "seconds"}
    fields |= {"status", "diverged_at"}
    metrics = set(json.loads(selected_cells(params)[0].metrics.read_text()))
    assert len(metrics) == 16  # four metrics: averaged, raw, floor, ceiling
    for row in read_rows():
        assert fields | {"champion", "weights_sha256"} | metrics <= set(row)
        assert not any(isinstance(value, (dict, list)) for value in row.values())


def test_csv_and_json_hold_the_same_rows(params: Params) -> None:
    write_report(params)
    table = list(csv.DictReader(io.StringIO((REPORT / "leaderboard.csv").read_text())))
    assert table == [
        {name: "" if value is None else str(value) for name, value in row.items()}
        for row in sorted_like(table, read_rows())
    ]


def sorted_like(table: list[dict[str, str]], rows: list[dict[str, object]]) -> list[dict[str, object]]:
    return [{name: row[name] for name in table[0]} for row in rows]


def test_rows_are_sorted_by_fid_and_the_champion_is_marked(params: Params) -> None:
    turned = select(params, ["wgan", "dcgan"], [0])
    page = write_report(turned).read_text()
    assert [(row["variant"], row["champion"]) for row in read_rows()] == [("dcgan", True), ("wgan", False)]
    assert page.count('class="badge"') == page_of("dcgan").count('class="badge"') == 1
    assert 'class="badge"' not in page_of("wgan")


def test_files_of_cells_that_are_not_selected_change_nothing(params: Params) -> None:
    alone = select(params, ["dcgan"], [0])
    before = write_report(alone).read_bytes()
    for cell in selected_cells(params)[1:]:
        cell.metrics.write_text("not even JSON")
    Path("build/metrics/mnist_tiny-stranger-quick-0.json").write_text("{}")
    assert write_report(alone).read_bytes() == before
    assert [row["variant"] for row in read_rows()] == ["dcgan"]


def test_every_missing_artefact_is_named_with_the_command_that_makes_it(params: Params) -> None:
    cell = selected_cells(params)[1]
    cell.metrics.unlink()
    (cell.samples / "averaged.npy").unlink()
    (cell.trajectory / "scores.json").unlink()
    with pytest.raises(DataError) as caught:
        write_report(params)
    assert str(caught.value).splitlines() == [
        f"build/samples/{cell.key}/averaged.npy: no such file; run 'dvc repro sample@{cell.key}'",
        f"build/trajectory/{cell.key}/scores.json: no such file; run 'dvc repro trajectory@{cell.key}'",
        f"build/metrics/{cell.key}.json: no such file; run 'dvc repro evaluate@{cell.key}'",
    ]
    assert not REPORT.exists()


def test_equal_artefacts_give_equal_bytes(params: Params) -> None:
    write_report(params)
    first = files_of_the_report()
    write_report(params)
    assert files_of_the_report() == first
    files = {
        "index.html",
        "courses.csv",
        "leaderboard.csv",
        "leaderboard.json",
        "summary.json",
        "samples.png",
    }
    files |= {"samples.png", "report.md", "figures/mnist_tiny.svg"}
    assert set(first) == files | {"variants/dcgan.html", "variants/wgan.html"}


def files_of_the_report() -> dict[str, bytes]:
    return {
        path.relative_to(REPORT).as_posix(): path.read_bytes() for path in REPORT.rglob("*") if path.is_file()
    }


def test_page_says_what_a_wasserstein_estimate_is_only_where_there_is_one(params: Params) -> None:
    write_report(params)
    assert "Read it within one run only" in page_of("wgan")
    assert "Read it within one run only" not in page_of("dcgan")


def test_picture_has_a_row_for_each_variant(params: Params) -> None:
    write_report(params)
    with Image.open(REPORT / "samples.png") as picture:
        # two rows of 28 pixels at scale 2, 8 between them, 16 above and below
        assert picture.height == 2 * 56 + 8 + 2 * 16
        assert picture.mode == "L"  # grey digits, grey text: a third of the bytes
        assert picture.width > 12 * 28 * 2


def test_cells_scored_by_two_protocols_are_refused(params: Params) -> None:
    metrics = selected_cells(params)[1].metrics
    metrics.write_text(metrics.read_text().replace("_200_", "_1k_"))
    with pytest.raises(DataError, match="fid_mnistnet_1k_test, fid_mnistnet_200_test"):
        write_report(params)


def test_metrics_of_another_split_are_refused(params: Params) -> None:
    metrics = selected_cells(params)[0].metrics
    metrics.write_text(metrics.read_text().replace("_test", "_train"))
    with pytest.raises(DataError, match="no FID against the split 'test'"):
        write_report(params)


def test_report_loads_neither_torch_nor_mlflow() -> None:
    code = "import sys, pipeline.report.write; "
    code += "print(sorted({'torch', 'mlflow', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def block_of(params: Params) -> str:
    """README's results, once the report is committed."""
    shutil.copytree(REPORT, COMMITTED, dirs_exist_ok=True)
    return readme_block(params)


def test_publishing_copies_the_report_and_writes_readme_and_leaves_other_reports(params: Params) -> None:
    with pytest.raises(DataError, match="make repro"):
        publish_reports(params)
    write_report(params)
    assert not COMMITTED.exists()
    (COMMITTED / "mnist").mkdir(parents=True)
    (COMMITTED / "variants").mkdir()
    (COMMITTED / "variants/gone.html").touch()
    Path("README.md").write_text("<!-- results:begin --><!-- results:end -->")
    assert publish_reports(params) == [COMMITTED]
    check_readme(params)
    assert (COMMITTED / "mnist").is_dir()
    assert not (COMMITTED / "variants/gone.html").exists()
    written = {path.relative_to(REPORT) for path in REPORT.rglob("*")}
    assert written == {path.relative_to(COMMITTED) for path in COMMITTED.rglob("*")} - {Path("mnist")}


def test_readme_goes_stale_with_the_report_and_is_written_again(params: Params) -> None:
    write_report(params)
    shutil.copytree(REPORT, COMMITTED)
    readme = Path("README.md")
    readme.write_text("before\n<!-- results:begin -->\nold\n<!-- results:end -->\nafter\n")
    with pytest.raises(ConfigError, match="gantry report --readme"):
        check_readme(params)
    write_readme(params)
    check_readme(params)
    text = readme.read_text()
    assert text.startswith("before\n<!-- results:begin -->\n![")
    assert text.endswith("<!-- results:end -->\nafter\n")
    assert "| 1 | `dcgan` **champion** | tuned | 40.0 | 0.40 % |" in text
    assert "| 2 | `wgan` † | tuned | 900.0 | 9.0 % |" in text
    write_readme(params)
    assert readme.read_text() == text


def test_readme_is_written_in_a_clone_that_has_only_the_reports(params: Params) -> None:
    write_report(params)
    shutil.copytree(REPORT, COMMITTED)
    Path("README.md").write_text("<!-- results:begin --><!-- results:end -->")
    for path in ("build", "models"):
        Path(path).rename(f"{path}_elsewhere")
    write_readme(params)
    check_readme(params)


@pytest.mark.parametrize("text", ["", "<!-- results:end --><!-- results:begin -->"])
def test_readme_without_markers_is_refused(params: Params, text: str) -> None:
    write_report(params)
    Path("README.md").write_text(text)
    with pytest.raises(ConfigError, match="results:begin"):
        write_readme(params)
    assert Path("README.md").read_text() == text


@pytest.mark.parametrize("text", ["<<<<<<< ours", "{}", '{"a": 1}', '[{"dataset": "mnist_tiny"}]'])
def test_damaged_leaderboard_is_refused(params: Params, text: str) -> None:
    Path("README.md").write_text("<!-- results:begin --><!-- results:end -->")
    COMMITTED.mkdir()
    (COMMITTED / "leaderboard.json").write_text(text)
    with pytest.raises(DataError, match="leaderboard.json"):
        check_readme(params)


def a_board(fids: dict[tuple[str, int], float], *, classes: int = 10, spread: float = 40.0) -> Board:
    """A board whose samples of a FID above 100 are seldom confident."""
    scale = {"fid_net_1k_test_floor": 5.0, "fid_net_1k_test_ceiling": 10000.0}
    scale |= {"classes_net_1k_test_floor": 10, "confident_net_1k_test_floor": 0.9}
    rows = [
        Row(
            dataset="digits",
            variant=variant,
            budget="quick",
            seed=seed,
            profile="tuned",
            champion=False,
            status="finished",
            steps=10,
            diverged_at=None,
            images_seen=320,
            seconds=60.0,
            selected_on="test",
            chosen_step=None,
            spread=spread,
            weights_sha256=HASH,
            data_digest=HASH,
            code_digest=HASH,
            evaluator_sha256=HASH,
            evaluator_accuracy=0.97,
            stamp={},
            metrics={"fid_net_1k_test": fid, "classes_net_1k_test": classes, "fid_net_1k_test_raw": 1.5 * fid}
            | {"confident_net_1k_test": 0.45 if fid <= 100 else 0.44}
            | scale,
        )
        for (variant, seed), fid in fids.items()
    ]
    return make_boards(rows, "test")[0]


def test_each_row_of_the_leaderboard_bears_the_protocol_of_its_scores(params: Params) -> None:
    write_report(params)
    rows = read_json(REPORT / "leaderboard.json")
    assert {row["protocol_extractor_sha256"] for row in rows} == {HASH}
    assert {row["protocol_samples"] for row in rows} == {params.samples["mnist_tiny"]}
    assert rows_from_json(REPORT / "leaderboard.json")[0].stamp == {
        name: value for name, value in rows[0].items() if name.startswith("protocol_")
    }


def test_half_of_what_real_images_score_is_not_yet_poor() -> None:
    board = a_board({("gan", 0): 100.0, ("wgan", 0): 100.1})
    assert [board.flags(row) for row in board.rows] == [[], ["confident 44 %, real images 90 %"]]
    assert summary(board)[1] == (
        "1 of 2 falls short. Share of confident samples below half of the real images' 90 %: wgan (44 %)."
    )


def test_a_board_without_faults_says_what_was_looked_at() -> None:
    assert summary(a_board({("gan", 0): 50.0}))[1] == (
        "No run falls short: all have the 10 classes of the real images, and at least half of their share "
        "of confident samples."
    )


def with_metrics(board: Board, *named: dict[str, float]) -> Board:
    """Give each row of a board these metrics more, best FID first."""
    rows = [
        dataclasses.replace(
            row, metrics=row.metrics | {f"{name}_net_1k_test{end}": v for (name, end), v in more.items()}
        )
        for row, more in zip(board.rows, named, strict=True)
    ]
    return make_boards(rows, "test")[0]


def modes(found: int, confident: float) -> dict[tuple[str, str], float]:
    scores: dict[tuple[str, str], float] = {("modes_confident", ""): found, ("confident", ""): confident}
    return scores | {
        ("modes_confident", "_floor"): 25,
        ("confident", "_floor"): 0.99,
        ("fid", "_floor"): 6e-4,
    }


def test_where_modes_are_counted_they_lead_then_the_share_on_them_then_the_fid() -> None:
    near = a_board({("few", 0): 0.0007, ("far", 0): 0.002, ("unsure", 0): 0.01, ("best", 0): 0.02})
    board = with_metrics(near, modes(14, 0.9), modes(25, 0.97), modes(25, 0.2), modes(25, 0.97))
    assert [row.variant for row in board.rows] == ["far", "best", "unsure", "few"]
    line = make_table(board).lines[0]
    assert line.scores == {
        "modes found": "25 of 25",
        "confident": "97 %",
        "FID": "0.00200",
        "FID, raw": "0.00300",
        "KID": "–",
    }
    assert board.flags(board.rows[-1]) == ["14 of 25 modes"]
    assert board.flags(board.rows[-2]) == ["confident 20 %, real images 99 %"]
    first, second, _ = summary(board)
    assert first == (
        "Of 4 variants trained on digits, far comes first: 25 of 25 modes, 97 % of the samples "
        "confident, FID 0.00200. Real training images: 25 of 25 modes, 99 % of the samples confident, "
        "FID 0.00060."
    )
    assert second.startswith("2 of 4 fall short. Fewer modes than the 25 of the real images: few (14).")
    assert "ceiling" not in first + second


def test_the_pages_of_data_with_modes_lead_with_them_and_name_no_share_of_noise(params: Params) -> None:
    scores = {"modes_confident": (24, 25, 25), "modes": (25, 25, 25), "confident": (0.81, 0.99, 0.07)}
    for cell in selected_cells(params):
        named = {name: value for name, value in read_json(cell.metrics).items() if "classes" not in name}
        for name, values in scores.items():
            for end, value in zip(("", "_floor", "_ceiling"), values, strict=True):
                named[f"{name}_mnistnet_200_test{end}"] = value
        write_json(cell.metrics, named)
    page = write_report(params).read_text()
    assert "<th>modes found</th><th>confident</th><th>FID</th>" in page
    assert "<td><strong>24 of 25</strong></td>\n<td>81 %</td>" in page
    assert "<small>24 of 25 modes</small>" in page
    assert "<dt>Modes found</dt>" in page and "<dt>Classes</dt>" not in page
    for text in (page, page_of("dcgan")):
        assert "ceiling</th><th" not in text or "floor to ceiling" not in text
        assert "of the ceiling" not in text and "uniform noise scores" not in text
    assert "<p>24 of 25 modes, 81 % of the samples confident, FID 40.0, after" in page_of("dcgan")
    assert "Real training images: 25 of 25 modes, 99 % of the samples confident" in page_of("dcgan")


def test_over_seeds_modes_lead_too_and_the_note_says_what_the_rank_goes_by() -> None:
    near = a_board(seeds_of(few=[0.001, 0.0011], all=[0.01, 0.011]))
    board = with_metrics(near, modes(25, 0.9), modes(20, 0.9), modes(25, 0.9), modes(25, 0.9))
    lines = seed_lines(board)
    assert [(line.name, line.modes, line.rank) for line in lines] == [
        ("all", "25.0 of 25", "2"),
        ("few", "22.5 of 25", "1"),
    ]
    assert summary(board)[0].startswith(
        "Of 2 variants trained on digits, all comes first: 25.0 of 25 modes on average over 2 seeds"
    )
    text = board_markdown(board)
    assert "| Rank | Variant | Runs | Mean modes | Mean FID |" in text
    assert "the rank is by FID alone" in text and "of ceiling" not in text


def test_missing_classes_and_a_repeated_image_are_flagged() -> None:
    board = a_board({("gan", 0): 50.0}, classes=1, spread=0.4)
    assert board.flags(board.rows[0]) == ["one image, repeated", "1 of 10 classes"]


@pytest.mark.parametrize(
    ("metric", "share", "floor", "flags"),
    [
        ("memorised", 0.05, 0.01, []),
        ("memorised", 0.06, 0.01, ["6 % copies of training images"]),
        ("memorised", 0.08, 0.03, []),  # under 3 times what real images score
        ("memorised", 0.10, 0.03, ["10 % copies of training images"]),
        ("duplicates", 0.50, 0.005, ["50 % near repeats among the samples"]),
    ],
)
def test_copies_and_near_repeats_are_flagged_well_above_what_real_images_score(
    metric: str, share: float, floor: float, flags: list[str]
) -> None:
    board = a_board({("gan", 0): 50.0})
    named = {f"{metric}_net_1k_test": share, f"{metric}_net_1k_test_floor": floor}
    row = dataclasses.replace(board.rows[0], metrics=board.rows[0].metrics | named)
    assert board.flags(row) == flags


def test_the_second_table_has_a_column_for_each_metric_that_there_is() -> None:
    board = a_board({("gan", 0): 50.0, ("wgan", 0): 60.0})
    named = {"is_net_1k_test": 6.714, "is_net_1k_test_floor": 9.34, "is_net_1k_test_ceiling": 1.0}
    named |= {"memorised_net_1k_test": 0.0032, "recall_net_1k_test": 0.999}
    rows = [dataclasses.replace(board.rows[0], metrics=board.rows[0].metrics | named), board.rows[1]]
    table = make_table(make_boards(rows, "test")[0])
    assert [detail.title for detail in table.details] == ["IS", "recall", "memorised"]
    assert [line.details for line in table.lines] == [["6.71", "99 %", "0.3 %"], ["–", "–", "–"]]
    assert (table.floor.details, table.ceiling.details) == (["9.34", "–", "–"], ["1.00", "–", "–"])


def test_the_page_explains_each_column_of_the_second_table(params: Params) -> None:
    for cell in selected_cells(params):
        named = read_json(cell.metrics) | {"coverage_mnistnet_200_test": 0.71}
        write_json(cell.metrics, named)
    page = write_report(params).read_text()
    assert "<th>coverage</th>" in page and "<td>71 %</td>" in page
    assert "<dt>Coverage</dt><dd>Share of the real images that have a sample" in page
    assert "<dt>Memorised</dt>" not in page


def test_one_seed_has_no_interval() -> None:
    board = a_board({("gan", 0): 50.0, ("wgan", 0): 60.0})
    assert seed_lines(board) == []
    assert "no interval can be given" in summary(board)[-1]
    assert summarise(board)[0]["fid_net_1k_test_low"] is None


def test_the_mean_over_seeds_is_of_all_runs() -> None:
    board = a_board({("gan", 0): 2.0, ("gan", 1): 4.0, ("gan", 2): 600.0, ("wgan", 0): 1.0})
    gan = next(row for row in summarise(board) if row["variant"] == "gan")
    assert (gan["seeds"], gan["poor"], gan["fid_net_1k_test_mean"]) == (3, 1, 202.0)


def test_the_averaged_generators_scores_rank_and_the_raw_ones_stand_in_a_column_of_their_own() -> None:
    board = a_board(seeds_of(gan=[50.0, 54.0], wgan=[30.0, 34.0]))
    raw = dict(zip([("gan", 0), ("gan", 1), ("wgan", 0), ("wgan", 1)], [10.0, 14.0, 70.0, 74.0], strict=True))
    turned = [
        dataclasses.replace(row, metrics=row.metrics | {"fid_net_1k_test_raw": raw[row.variant, row.seed]})
        for row in board.rows
    ]
    board = make_boards(turned, "test")[0]
    lines = make_table(board).lines
    assert [(line.name, line.scores["FID"], line.scores["FID, raw"], line.lead) for line in lines] == [
        ("wgan · seed 0", "30.0", "70.0", "FID 30.0"),
        ("wgan · seed 1", "34.0", "74.0", "FID 34.0"),
        ("gan · seed 0", "50.0", "10.0", "FID 50.0"),
        ("gan · seed 1", "54.0", "14.0", "FID 54.0"),
    ]
    first, last = board.rows[0], board.rows[-1]
    # Of the way from 5 to 10,000 by logarithms: ln(30 / 5) / ln 2,000 is 23.6 %.
    assert position(board, first) == (23.6, 34.7)
    assert position(board, last) == (31.3, 13.5)
    assert [(line.rank, line.name, line.mean) for line in seed_lines(board)] == [
        ("1", "wgan", "32.0"),
        ("2", "gan", "52.0"),
    ]
    means = [
        (flat["variant"], flat["fid_net_1k_test_mean"], flat["fid_net_1k_test_raw_mean"])
        for flat in summarise(board)
    ]
    assert means == [("wgan", 32.0, 72.0), ("gan", 52.0, 12.0)]
    shown = {line.title: line for line in metric_lines(board, first)}["FID"]
    assert (shown.averaged, shown.raw) == ("30.0", "70.0")
    table = [
        [cell.strip() for cell in line.split("|")]
        for line in board_markdown(board).splitlines()
        if line.startswith("|")
    ]
    columns = [table[0].index(name) for name in ("FID", "FID, raw")]
    (row,) = (row for row in table if "`wgan · seed 0`" in " ".join(row))
    assert [row[column] for column in columns] == ["30.0", "70.0"]


def seeds_of(**scores: list[float]) -> dict[tuple[str, int], float]:
    return {(name, seed): fid for name, fids in scores.items() for seed, fid in enumerate(fids)}


def test_variants_that_can_not_be_told_apart_share_their_rank() -> None:
    board = a_board(seeds_of(gan=[10.0, 11.0, 12.0], wgan=[10.5, 11.0, 12.5], began=[90.0, 91.0, 92.0]))
    lines = seed_lines(board)
    assert [(line.rank, line.name) for line in lines] == [("1–2", "gan"), ("1–2", "wgan"), ("3", "began")]
    assert [(flat["rank"], flat["rank_last"]) for flat in summarise(board)] == [(1, 2), (1, 2), (3, 3)]
    assert summarise(board)[0]["interval"] == "student_t_95"
    assert summary(board)[-1].endswith("The first place is not settled between gan and wgan.")


def test_a_variant_with_a_single_run_has_no_rank() -> None:
    board = a_board(seeds_of(gan=[10.0, 11.0], wgan=[5.0]))
    assert [(line.rank, line.name) for line in seed_lines(board)] == [("–", "wgan"), ("1", "gan")]
    assert summarise(board)[0]["rank"] is None


def test_collapsed_runs_are_counted_apart_from_poor_and_diverged_ones() -> None:
    board = a_board(seeds_of(gan=[10.0, 900.0, 12.0]))
    poor = [dataclasses.replace(row, spread=0.4) if row.seed == 0 else row for row in board.rows]
    rows = [
        dataclasses.replace(row, spread=0.4, status="diverged", diverged_at=3) if row.seed == 2 else row
        for row in poor
    ]
    (flat,) = summarise(make_boards(rows, "test")[0])
    assert (flat["poor"], flat["collapsed"], flat["diverged"]) == (3, 1, 1)


def test_page_and_readme_show_ranks_over_seeds_and_how_the_champion_was_chosen(params: Params) -> None:
    seeds = select(params, ["dcgan", "wgan"], [0, 1])
    for cell in selected_cells(seeds):
        if cell.seed == 1:
            write_cell(cell, seeds, 45.0 if cell.variant == "dcgan" else 990.0, 10)
    page = write_report(seeds).read_text()
    interval = "10.7 to 74.3"  # 42.5 ± 12.706 · 2.5
    assert f'<td>1</td><td class="text name">dcgan</td><td>2</td><td>42.5</td><td>{interval}</td>' in page
    assert f"| 1 | `dcgan` | 2 | 42.5 | {interval} | 0 | 0 |" in block_of(seeds)
    for text in (page, block_of(seeds)):
        assert "The champion is the single run of lowest FID against the test split" in text


def test_numbers_are_written_as_people_read_them() -> None:
    assert (fixed(9876.44, 1), fixed(-0.0012, 3), fixed(None, 1)) == ("9,876.4", "−0.001", "–")
    assert (percent(0.0039), percent(0.022), percent(0.5)) == ("0.39 %", "2.2 %", "50 %")
    assert [write_value(share, 0, is_share=True) for share in (0.999, 1.0, None)] == ["99 %", "100 %", "–"]
    assert [short_number(n) for n in (0, 999, 1250, 4000, 128000, 1300000)] == [
        "0",
        "999",
        "1.25k",
        "4k",
        "128k",
        "1.3M",
    ]


# ---- fourteen variants and more


def test_every_variant_is_linked_to_a_page_of_its_own(study: Params) -> None:
    page = write_report(study).read_text()
    table = page[page.index('<section id="scores-') : page.index('<section id="noise-')]
    for cell in selected_cells(study):
        assert table.count(f'href="variants/{cell.variant}.html"') == 1 + ("How real" in table)
        assert f"<h1>{cell.variant}<" in page_of(cell.variant)
    ids = re.findall(r'id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)


def test_a_row_of_another_seed_is_linked_nowhere(params: Params) -> None:
    seeds = select(params, ["dcgan"], [0, 1])
    write_cell(selected_cells(seeds)[1], seeds, 50.0, 10)
    page = write_report(seeds).read_text()
    assert page.count('href="variants/dcgan.html">dcgan · seed 0</a>') == 1
    assert '<span class="name">dcgan · seed 1</span>' in page


def test_the_page_of_a_variant_that_is_selected_no_more_goes(params: Params) -> None:
    write_report(params)
    write_report(select(params, ["wgan"], [0]))
    assert [path.name for path in (REPORT / "variants").iterdir()] == ["wgan.html"]


def test_a_variants_page_has_its_departures_its_scores_and_what_others_published(params: Params) -> None:
    write_report(params)
    page = page_of("dcgan")
    row = '<tr class="departs"><td class="text pin">batch_size</td><td class="text">64</td>'
    assert f'{row}<td class="text">paper: 128</td></tr>' in page
    scores = "<td><strong>40.0</strong></td><td>60.0</td><td>5.00</td><td>10,000</td>"
    assert re.findall(r"name\">FID</td>(.*?)<td class=\"text wrap", page) == [scores]
    assert '<td class="text pin">NS GAN</td><td class="text">mnist</td>' in page
    assert ">DRAGAN</td>" not in page
    assert '<span class="flag">recalled</span>' in page


def test_a_variants_page_shows_the_ways_between_images_and_the_nearest_training_images(
    params: Params,
) -> None:
    write_report(params)
    folder, page = selected_cells(params)[0].samples, page_of("dcgan")
    ways = np.load(folder / "interpolation.npy").reshape(80, 1, 28, 28)
    assert data_uri(enlarge(lay_out(ways, columns=10))) in page
    pairs = np.concatenate([np.load(folder / "averaged.npy")[:8], np.load(folder / "nearest.npy")])
    assert data_uri(enlarge(lay_out(pairs, columns=8), 3)) in page
    assert page.count("<span>41</span>") == 8
    assert "along the sphere" in page


def test_an_animation_has_a_frame_a_picture_and_a_bar_that_grows() -> None:
    pictures = [np.full((4, 8, 1), value, np.uint8) for value in (10, 20, 30)]
    content = animate(pictures, [0.0, 0.5, 1.0])
    assert content == animate(pictures, [0.0, 0.5, 1.0])
    with Image.open(io.BytesIO(content)) as found:
        assert (found.n_frames, found.size, found.info["loop"]) == (3, (8, 8), 0)
        for number, (value, bar) in enumerate([(10, 0), (20, 4), (30, 8)]):
            found.seek(number)
            pixels = np.asarray(found)
            assert (pixels[:4] == value).all()
            assert (pixels[-1] > 0).sum() == bar
    with pytest.raises(ValueError, match="at least one"):
        animate([], [])


def test_readers_who_want_no_motion_get_the_last_frame(params: Params) -> None:
    write_report(params)
    still = read_grid(selected_cells(params)[0].model / "previews/004000.png", ImageShape(1, 28, 28))
    address = data_uri(lay_out(still[:36], columns=6))
    assert f'<source media="(prefers-reduced-motion: reduce)" srcset="{address}">' in page_of("dcgan")


def test_a_variants_page_animates_other_noise_in_each_frame(params: Params) -> None:
    write_report(params)
    images = np.load(selected_cells(params)[0].trajectory / "images.npy")
    frames = [lay_out(picture[:36], columns=6) for picture in images]
    assert png_uri(animate(frames, [0.0, 0.5, 1.0])) in page_of("dcgan")
    assert f'srcset="{data_uri(frames[-1])}"' in page_of("dcgan")


def test_without_a_validation_split_quality_along_the_run_is_shown_and_nothing_is_chosen(
    params: Params,
) -> None:
    page = write_report(params).read_text()
    assert page.count("Quality along the run</h2>") == 1
    assert "1,000 samples against as many training images" in page
    assert "no step is chosen" in page
    assert "chosen step" not in page
    assert '<td class="text pin name">dcgan</td><td>4,000</td><td>50.0</td></tr>' in page
    assert page.count('<g class="strand') == 6  # two runs in three panels
    assert "dcgan: 50.0 at the last step, 4,000." in page_of("dcgan")
    assert page_of("dcgan").count('<g class="strand s1 dashed muted"') == 3
    assert [(row["selected_on"], row["chosen_step"]) for row in read_rows()] == [("test", None)] * 2


def test_with_a_validation_split_the_last_step_stands_beside_the_chosen_one(params: Params) -> None:
    for cell in selected_cells(params):
        write_course(cell, [(0, 8000.0), (2000, 41.0), (4000, 44.0)], "validation")
    page = write_report(params).read_text()
    line = "<td>4,000</td><td>44.0</td><td>2,000</td><td>41.0</td>"
    assert page.count(line) == 2
    assert page.count('<circle class="chosen"') == 6
    assert "images of the validation split" in page and "no step is chosen" not in page
    assert "dcgan: 44.0 at the last step, 4,000; 41.0 at the chosen one, 2,000." in page_of("dcgan")
    assert [(row["selected_on"], row["chosen_step"]) for row in read_rows()] == [("validation", 2000)] * 2


def test_the_note_on_the_champion_says_which_split_chose_it(params: Params) -> None:
    seeds = select(params, ["dcgan"], [0, 1])
    write_cell(selected_cells(seeds)[1], seeds, 45.0, 10)
    assert "chosen by the score that it is shown with" in write_report(seeds).read_text()
    for cell in selected_cells(seeds):
        write_course(cell, [(0, 8000.0), (2000, 41.0), (4000, 44.0)], "validation")
    page = write_report(seeds).read_text()
    assert "of lowest FID against the validation split, so its score here" in page
    assert "chosen by the score that it is shown with" not in page


def test_runs_that_were_scored_by_different_protocols_share_no_axis(params: Params) -> None:
    write_course(selected_cells(params)[0], [(4000, 44.0)], "validation")
    with pytest.raises(DataError, match="mnist_tiny: runs are scored by different protocols"):
        write_report(params)


def test_a_snapshot_without_a_time_is_an_error_that_says_what_to_run(params: Params) -> None:
    cell = selected_cells(params)[0]
    write_course(cell, [(3000, 44.0)], "train")
    with pytest.raises(
        DataError, match=f"no time of the snapshot at step 3000; run 'dvc repro -f train@{cell.key}'"
    ):
        write_report(params)


def test_figures_are_files_of_equal_bytes_that_name_no_day(params: Params) -> None:
    write_report(params)
    first = {path.name: path.read_bytes() for path in (REPORT / "figures").iterdir()}
    assert set(first) == {
        f"mnist_tiny-{name}.{kind}"
        for name in ("leaderboard", "critics", "quality")
        for kind in ("png", "svg")
    }
    write_report(params)
    assert {path.name: path.read_bytes() for path in (REPORT / "figures").iterdir()} == first
    for name, content in first.items():
        assert b"dc:date" not in content and b"Software" not in content
        assert content.startswith(b"\x89PNG" if name.endswith("png") else b"<?xml")


def test_figures_of_several_seeds_and_of_diverged_runs_are_drawn(params: Params) -> None:
    seeds = select(params, ["dcgan", "wgan"], [0, 1])
    for cell in selected_cells(seeds):
        if cell.seed == 1:
            write_cell(cell, seeds, 4e4, 10, diverged_at=2500 if cell.variant == "wgan" else None)
    write_report(seeds)  # dcgan's interval reaches below zero, where a logarithmic axis ends
    assert len(list((REPORT / "figures").iterdir())) == 6


def test_the_report_for_a_pull_request_has_the_tables_and_names_no_file(params: Params) -> None:
    for cell in selected_cells(params):
        write_json(cell.metrics, read_json(cell.metrics) | {"coverage_mnistnet_200_test": 0.71})
    write_report(params)
    text = (REPORT / "report.md").read_text()
    assert "| 1 | `dcgan` **champion** | tuned | 40.0 | 0.40 % |" in text
    assert "| variant | coverage |\n|:---|---:|\n" in text and "| `wgan` | 71 % |" in text
    assert re.search(r"\]\(|https?:|<img", text) is None


def test_large_images_and_many_runs_leave_room_for_fewer_on_the_first_page() -> None:
    assert pictured(14, 28 * 28) == (12, 64)  # 81 of 784 bytes each: as many as there are places for
    assert pictured(3, 3 * 64 * 64) == (12, 9)  # 24: 12 remain for a square of 3 by 3
    assert pictured(14, 3 * 64 * 64) == (5, 0)
    assert pictured(100, 3 * 128 * 128) == (4, 0)


def test_every_metric_of_a_row_is_written_even_one_without_an_explanation() -> None:
    board = a_board({("gan", 0): 50.0})
    named = {"new_thing_net_1k_test": 0.012345, "new_thing_net_1k_test_floor": 1234.4}
    row = dataclasses.replace(board.rows[0], metrics=board.rows[0].metrics | named)
    lines = {line.title: line[1:5] for line in metric_lines(board, row)}
    assert lines["new thing"] == ("0.0123", "–", "1,234", "–")
    assert lines["FID"] == ("50.0", "75.0", "5.00", "10,000")


def test_variants_whose_noise_can_not_be_shared_are_marked(study: Params) -> None:
    page = write_report(study).read_text()
    assert page.count("<small>noise 64 × U[−1, 1]</small>") == 2
    assert "The noise is 100 × N(0, 1); rows that name another law share theirs only" in page


def test_the_sentence_names_each_poor_variant_under_each_of_its_faults(study: Params) -> None:
    board = make_boards(read_rows_of(study), "test")[0]
    assert summary(board)[1] == (
        "2 of 15 fall short. Diverged: wgan_l2_as_coded (step 812). "
        "Fewer classes than the 10 of the real images: gan (9)."
    )


def test_curves_are_explained_and_only_those_there_are(study: Params) -> None:
    write_report(study)
    page = page_of("wgan")
    explained = re.findall(r"<dt>([^<]+)</dt>", page[page.index("What the curves show") :].split("</dl>")[0])
    assert explained == ["Critic loss", "Generator loss", "W estimate"]


# ---- runs that diverged


def test_a_diverged_row_says_so_in_every_file_and_comes_last(study: Params) -> None:
    page = write_report(study).read_text()
    row = read_rows()[-1]
    assert (row["variant"], row["status"], row["diverged_at"]) == ("wgan_l2_as_coded", "diverged", 812)
    assert row["steps"] == 4000
    assert {other["status"] for other in read_rows()[:-1]} == {"finished"}
    table = page[page.index('<section id="scores-') : page.index('<section id="noise-')]
    assert '<small class="flag">diverged at step 812</small>' in table
    assert "<td>812 of 4,000</td>" in table
    assert "Diverged at step 812." in page_of("wgan_l2_as_coded")
    counts = {flat["variant"]: flat["diverged"] for flat in json.loads((REPORT / "summary.json").read_text())}
    assert sum(counts.values()) == counts["wgan_l2_as_coded"] == 1
    line = next(line for line in block_of(study).splitlines() if "wgan_l2_as_coded` †" in line)
    assert line.startswith("| – |") and "| 20.0 | 0.20 % |" in line


def test_no_sentence_calls_a_diverged_run_the_best(study: Params) -> None:
    board = make_boards(read_rows_of(study), "test")[0]
    assert summary(board)[0].startswith("Of 15 variants trained on mnist_tiny, gan comes closest")


def test_a_board_of_diverged_runs_has_no_best_one(params: Params) -> None:
    shutil.rmtree("models")
    shutil.rmtree("build/samples")
    for cell in selected_cells(params):
        write_cell(cell, params, 40.0, 10, diverged_at=7)
    write_json(Path("build/champions/default.json"), {})
    page = write_report(params).read_text()
    assert "Every run of the 2 variants on mnist_tiny diverged: there is no best one." in page
    assert 'class="badge"' not in page
    assert "gantry sample" not in page
    assert "comes closest" not in block_of(params)


def test_scores_beyond_the_ceiling_are_drawn_at_its_end(params: Params) -> None:
    rows = read_rows_of(params)
    odd = dataclasses.replace(
        rows[0], metrics=rows[0].metrics | {"fid_mnistnet_200_test": 2.5e6, "fid_mnistnet_200_test_raw": 9e9}
    )
    board = make_boards([rows[1], odd], "test")[0]
    assert position(board, odd) == (100.0, 100.0)
    assert make_table(board).lines[-1].scores["of ceiling"] == "25,000 %"


def test_a_variant_that_diverged_with_every_seed_comes_last_over_seeds() -> None:
    board = a_board({("gan", 0): 10.0, ("gan", 1): 11.0, ("wgan", 0): 50.0, ("wgan", 1): 60.0})
    broken = [
        dataclasses.replace(row, status="diverged", diverged_at=3) if row.variant == "gan" else row
        for row in board.rows
    ]
    board = make_boards(broken, "test")[0]
    assert [(line.name, line.rank) for line in seed_lines(board)] == [("wgan", "1"), ("gan", "–")]
    assert [(flat["variant"], flat["diverged"]) for flat in summarise(board)] == [("wgan", 0), ("gan", 2)]
    assert summary(board)[1] == "1 of 2 falls short. Diverged: gan (2 of 2 runs)."


def test_a_report_from_before_divergence_was_recorded_is_still_read(params: Params) -> None:
    write_report(params)
    path = REPORT / "leaderboard.json"
    text = block_of(params)
    old = [
        {name: value for name, value in row.items() if name not in ("status", "diverged_at")}
        for row in read_rows()
    ]
    path.write_text(json.dumps(old))
    assert block_of(params) == text


def read_rows_of(params: Params) -> list[Row]:
    write_report(params)
    return rows_from_json(REPORT / "leaderboard.json")


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_is_taken_apart_as_it_was_put_together(tmp_path: Path, channels: int, scale: int) -> None:
    torch = pytest.importorskip("torch")
    from gan.sampling import image_grid

    images = np.random.default_rng(0).integers(0, 256, (64, channels, 5, 7), dtype=np.uint8)
    image_grid(torch.from_numpy(images), scale=scale).save(tmp_path / "grid.png")
    np.testing.assert_array_equal(read_grid(tmp_path / "grid.png", ImageShape(channels, 5, 7)), images)
    with pytest.raises(DataError, match="no grid of 8 columns"):
        read_grid(tmp_path / "grid.png", ImageShape(channels, 6, 6))


def test_pictures_are_laid_out_row_by_row() -> None:
    images = np.arange(1, 5, dtype=np.uint8).reshape(4, 1, 1, 1)
    assert lay_out(images, columns=2, gap=1)[:, :, 0].tolist() == [[1, 0, 2], [0, 0, 0], [3, 0, 4]]
    assert enlarge(np.array([[[7], [9]]], np.uint8), 2)[:, :, 0].tolist() == [[7, 7, 9, 9]] * 2


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-2.1, -0.2), (0.0, 7e-5), (3.0, 8000.0), (5.0, 5.1)])
def test_an_axis_has_two_to_five_ticks_inside_its_range(low: float, high: float) -> None:
    values = [value for value, _ in ticks(low, high)]
    assert 2 <= len(values) <= 6
    assert all(low - 1e-9 <= value <= high + 1e-9 for value in values)


def test_a_spike_does_not_flatten_a_chart() -> None:
    values = np.ones(200) + np.linspace(0, 1, 200)
    values[0] = 1000.0
    low, high, is_cut = value_range(values)
    assert is_cut
    assert (low, high) == pytest.approx((1.0, 2.0), abs=0.1)


def test_curves_bear_values_that_are_not_finite() -> None:
    history = {"step": [1, 2, 3], "images_seen": [32, 64, 96], "loss/critic": [1, np.inf, 2]}
    history |= {"balance/k": [np.nan] * 3}
    charts = draw_charts({name: np.array(values, float) for name, values in history.items()})
    assert [chart.title for chart in charts] == ["Critic loss", "K"]
    assert "nan" not in "".join(chart.svg for chart in charts)
    assert charts[0].svg.count("M") == 4  # thin and thick, both interrupted once
    assert [chart.note for chart in charts] == ["", "no finite value"]


def test_related_scalars_share_a_chart_and_any_may_be_absent() -> None:
    names = ["critic/energy_fake", "critic/wasserstein_held_out", "critic/energy_real", "critic/wasserstein"]
    names += [
        "critic/energy_held_out",
        "began/k",
        "coulomb/field_real",
        "generator/outside",
        "mine/own_thing",
    ]
    history = {name: np.full(3, number, float) for number, name in enumerate(names)}
    charts = draw_charts({"step": np.arange(1.0, 4.0), "images_seen": np.arange(32.0, 100.0, 32.0)} | history)
    assert [(chart.title, chart.legend) for chart in charts] == [
        ("W estimate", ["training", "held out"]),
        ("Energy", ["real", "fake", "held out"]),
        ("k", []),
        ("Potential without self term", ["real"]),
        ("Outside [−1, 1]", []),
        ("Own thing", []),
    ]


def test_no_scalar_stands_in_two_charts() -> None:
    columns = [name for kind in CHARTS for name in kind.columns]
    assert len(columns) == len(set(columns))
    assert all(kind.meaning for kind in CHARTS)


def test_a_curve_goes_through_its_points() -> None:
    history = {"step": np.array([1.0, 2.0, 4.0]), "images_seen": np.array([1.0, 2.0, 4.0])}
    svg = draw_charts(history | {"loss/critic": np.array([0.0, 1.0, 0.5])})[0].svg
    thin = re.search(r'thin" d="M([\d.]+) ([\d.]+)h0l([\d.]+)( ?-?[\d.]+)l([\d.]+)( ?-?[\d.]+)"', svg)
    assert thin
    x, y, *moves = (float(number) for number in thin.groups())
    # 210 wide from 44, 116 high from 8; the range is [0, 1] and 5 % more on either side
    assert (x, y) == pytest.approx((44 + 210 / 4, 8 + 116 * 1.05 / 1.1), abs=0.05)
    assert moves == pytest.approx([210 / 4, -116 / 1.1, 210 / 2, 58 / 1.1], abs=0.1)


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (-0.55, 1.05, ["−0.5", "0", "0.5", "1.0"]),
        (0.0, 8000.0, ["0", "2000", "4000", "6000", "8000"]),
        (-1e23, 1.1e24, ["0", "5e23", "1e24"]),
        (0.0, 2.1e-7, ["0", "1e−7", "2e−7"]),
    ],
)
def test_ticks_of_any_size_fit_beside_the_axis(low: float, high: float, texts: list[str]) -> None:
    assert [text for _, text in ticks(low, high)] == texts
