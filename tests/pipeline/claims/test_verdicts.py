"""Stage `claims`: what its page, its table and its JSON say of verdicts that are given to it."""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from gan.config import Params
from gan.files import read_json
from pipeline.claims import __main__ as claims_stage
from pipeline.claims.claim import Claim, Judgement, read_claims
from pipeline.claims.finding import Finding
from pipeline.claims.verdicts import (
    effect_text,
    grouped,
    verdict_lines,
    verdict_rows,
    verdicts_markdown,
    verdicts_page,
    write_verdicts,
)
from pipeline.scores.inference import Effect

ROOT = Path(__file__).resolve().parents[3]
TEST = {"kind": "comparison", "quantity": "score/fid", "of": "wgan", "against": "dcgan", "scale": "ratio"}
TESTED = {
    "cells": {"dataset": "mnist_tiny", "budget": "quick", "seeds": [0, 1]},
    "tests": [TEST | {"more_than": 3.0}],
}
RATIO = "ratio of FID, wgan to dcgan"


def claim_of(name: str, **more: object) -> Claim:
    texts = {
        "hypothesis": f"What {name} says.",
        "origin": f"origin of {name}",
        "confounder": f"All but {name}.",
    }
    return Claim.model_validate({"id": name, **texts, **more})


def finding_of(verdict: str, effect: Effect | None, note: str = "") -> Finding:
    return Finding(RATIO, "above 3", effect, verdict, 4, note)  # type: ignore[arg-type]


JUDGEMENTS = [
    Judgement(claim_of("K1", **TESTED), "confirmed", [finding_of("confirmed", Effect(4, 3.5, 4.5))]),
    Judgement(
        claim_of("K2", **TESTED, prediction="refuted"), "refuted", [finding_of("refuted", Effect(1, 0.5, 2))]
    ),
    Judgement(
        claim_of("K3", **TESTED), "inconclusive", [finding_of("inconclusive", None, "x.csv: no column <a>")]
    ),
    Judgement(
        claim_of("D1", needs="data set celeba, on a GPU"), "not run here", needs="data set celeba, on a GPU"
    ),
    Judgement(claim_of("K4", **TESTED), "not run here", needs="4 of 4 cells", minutes=3.0),
]


def test_verdicts_are_counted_and_the_counts_stand_on_top_of_page_and_table() -> None:
    found = {verdict: [j.claim.id for j in group] for verdict, group in grouped(JUDGEMENTS).items()}
    assert found == {
        "confirmed": ["K1"],
        "refuted": ["K2"],
        "inconclusive": ["K3"],
        "not run here": ["D1", "K4"],
    }
    lead = "1 confirmed, 1 refuted, 1 inconclusive, 2 not run here."
    page, table = verdicts_page(JUDGEMENTS), verdicts_markdown(JUDGEMENTS)
    assert page.index(lead) < page.index("<h2>") and "<h1>5 claims" in page
    assert table.splitlines()[2] == f"5 claims: {lead}"


@pytest.mark.parametrize(
    ("effect", "text"),
    [
        (Effect(4.0, 3.5, 4.5), "4.00 (3.50 to 4.50)"),
        (Effect(12.34, 10.0, None), "12.3 or more (from 10.0)"),
        (Effect(0.5, None, None), "0.500"),
        (None, "–"),
    ],
)
def test_an_effect_is_written_with_its_interval_and_an_open_end_is_named(effect: Effect, text: str) -> None:
    assert effect_text(finding_of("confirmed", effect)) == text


def test_the_page_has_each_claim_with_origin_effect_rule_confounder_and_what_it_needs() -> None:
    page = verdicts_page(JUDGEMENTS)
    for judgement in JUDGEMENTS:
        claim = judgement.claim
        section = page.partition(f'<h3 id="{claim.id}">')[2].partition("<h3")[0]
        assert section.startswith(f"{claim.id}: {judgement.verdict}</h3>")
        for said in (claim.hypothesis, claim.origin, claim.confounder, judgement.needs):
            assert said in section
    first = page.partition('<h3 id="K1">')[2]
    assert "<strong>4.00 (3.50 to 4.50)</strong>, 4 runs; claimed: above 3. Confirmed" in first
    assert "mnist_tiny, budget quick, seeds 0, 1" in first
    assert "no column &lt;a&gt;" in page and "expected here: refuted" in page


def test_the_page_is_one_file_that_names_no_address_and_follows_light_and_dark() -> None:
    page = verdicts_page(JUDGEMENTS)
    assert not re.search(r"https?://|src=|@import|url\(", page)
    assert set(re.findall(r'href="([^"]+)"', page)) == {f"#{j.claim.id}" for j in JUDGEMENTS}
    assert "prefers-color-scheme: dark" in page and 'content="width=device-width' in page
    assert page == verdicts_page(JUDGEMENTS)


def test_the_table_lists_what_was_tested_and_then_what_the_others_need() -> None:
    table, _, others = verdicts_markdown(JUDGEMENTS).partition("## Not run here")
    assert (
        "| K1 | What K1 says. (origin of K1) | confirmed | ratio of FID, wgan to dcgan: 4.00 (3.50 to 4.50) |"
        in table
    )
    assert "D1" not in table
    assert "- D1: What D1 says. It needs data set celeba, on a GPU." in others


def test_a_terminal_gets_a_row_a_claim_and_one_claim_in_full() -> None:
    assert verdict_rows(JUDGEMENTS)[0] == ("K1", "confirmed", "4.00 (3.50 to 4.50)", "What K1 says.")
    assert verdict_lines(JUDGEMENTS[1]) == [
        "K2: What K2 says.",
        "from: origin of K2",
        "verdict: refuted",
        "  ratio of FID, wgan to dcgan: 1.00 (0.500 to 2.00); claimed: above 3: refuted",
        "expected here: refuted",
        "not held fixed: All but K2.",
    ]
    assert "needs: 4 of 4 cells" in verdict_lines(JUDGEMENTS[4])


def test_where_nothing_was_trained_all_claims_are_not_run_and_say_what_they_need(
    checkout: Path, params: Params
) -> None:
    page = write_verdicts(checkout / "reports/claims", params)
    found = read_json(checkout / "reports/claims/claims.json")
    assert [entry["id"] for entry in found] == [claim.id for claim in read_claims(params)]
    assert all(entry["verdict"] == "not run here" and entry["needs"] for entry in found)
    text = page.read_text(encoding="utf-8")
    assert f"0 confirmed, 0 refuted, 0 inconclusive, {len(found)} not run here." in text
    assert (checkout / "reports/claims/claims.md").is_file()


def test_the_stage_writes_the_outs_that_it_declares(
    checkout: Path, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["claims"]
    claims_stage.main(params, "claims")
    assert capsys.readouterr().out == "build/reports/claims/index.html\n"
    (out,) = stage["outs"]
    folder = checkout / out.replace("${item.folder}", "claims")
    assert {path.name for path in folder.iterdir()} == {"index.html", "claims.md", "claims.json"}
