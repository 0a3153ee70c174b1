"""Owns the verdicts on the ancestors' claims, as a page, as Markdown and as JSON.

Reads the cells that the claims name, whichever of them are here, and never a directory listing. A study asks
for it by `select.claims`, which names the report; most studies don't.
"""

from collections.abc import Sequence
from pathlib import Path

from gan.config import Params
from gan.files import write_bytes, write_json
from pipeline.claims.claim import Claim, Judgement, judge, read_claims
from pipeline.claims.finding import Finding, Verdict
from pipeline.drawing.numbers import significant
from pipeline.drawing.templates import page_template

MEANINGS: dict[Verdict, str] = {
    "confirmed": "the whole interval lies where the claim says",
    "refuted": "the whole interval lies elsewhere",
    "inconclusive": "the interval lies across the threshold, or the runs can't tell",
    "not run here": "what it needs isn't here",
}


def write_verdicts(folder: Path, params: Params) -> Path:
    """Write index.html, claims.md and claims.json into a folder and return the page's path."""
    judgements = [judge(claim, params) for claim in read_claims(params)]
    write_json(folder / "claims.json", [judgement.as_dict() for judgement in judgements])
    write_bytes(folder / "claims.md", verdicts_markdown(judgements).encode())
    page = folder / "index.html"
    write_bytes(page, verdicts_page(judgements).encode())
    return page


def grouped(judgements: Sequence[Judgement]) -> dict[Verdict, list[Judgement]]:
    """Claims by their verdict, each verdict once, in the order of MEANINGS."""
    return {verdict: [found for found in judgements if found.verdict == verdict] for verdict in MEANINGS}


def effect_text(finding: Finding) -> str:
    """An effect with its interval, such as "12.3 (8.1 to 19.2)"; an open end is named so."""
    effect = finding.effect
    if effect is None:
        return "–"
    if effect.low is None and effect.high is None:
        return significant(effect.value)
    if effect.high is None:
        return f"{significant(effect.value)} or more (from {significant(effect.low)})"
    return f"{significant(effect.value)} ({significant(effect.low)} to {significant(effect.high)})"


def verdicts_page(judgements: Sequence[Judgement]) -> str:
    """Render the page. Deterministic: equal verdicts give equal bytes."""
    template = page_template(Path(__file__).parent, "claims.html.j2")
    return template.render(
        judgements=judgements,
        groups=grouped(judgements),
        meanings=MEANINGS,
        effect_text=effect_text,
        where=where,
    )


def verdicts_markdown(judgements: Sequence[Judgement]) -> str:
    """Write the verdicts as a table, and below it what the claims that were not run here need."""
    tested = [judgement for judgement in judgements if judgement.verdict != "not run here"]
    others = [judgement for judgement in judgements if judgement.verdict == "not run here"]
    lines = ["# Claims of the ancestors", "", counts_text(judgements), ""]
    if tested:
        lines += ["| claim | | verdict | effect, 95 % interval |", "|:---|:---|:---|:---|"]
        for judgement in tested:
            effects = "; ".join(f"{f.what}: {effect_text(f)}" for f in judgement.findings)
            claim = judgement.claim
            lines.append(
                f"| {claim.id} | {claim.hypothesis} ({claim.origin}) | {judgement.verdict} | {effects} |"
            )
        lines.append("")
    if others:
        lines += ["## Not run here", ""]
        lines += [f"- {j.claim.id}: {j.claim.hypothesis} It needs {j.needs}." for j in others]
        lines.append("")
    return "\n".join(lines)


def counts_text(judgements: Sequence[Judgement]) -> str:
    """Such as "46 claims: 3 confirmed, 1 refuted, 2 inconclusive, 40 not run here."."""
    parts = ", ".join(f"{len(group)} {verdict}" for verdict, group in grouped(judgements).items())
    return f"{len(judgements)} claims: {parts}."


def where(claim: Claim) -> str:
    """Data set, budget and seeds on which a claim is tested."""
    cells = claim.cells
    if cells is None:
        return ""
    return f"{cells.dataset}, budget {cells.budget}, seeds {', '.join(map(str, cells.seeds))}"


def verdict_rows(judgements: Sequence[Judgement]) -> list[tuple[str, str, str, str]]:
    """Id, verdict, effects and hypothesis of each claim, for a terminal."""
    return [
        (j.claim.id, j.verdict, "; ".join(map(effect_text, j.findings)), j.claim.hypothesis)
        for j in judgements
    ]


def verdict_lines(judgement: Judgement) -> list[str]:
    """Write one claim in full, for a terminal."""
    claim = judgement.claim
    lines = [f"{claim.id}: {claim.hypothesis}", f"from: {claim.origin}", f"verdict: {judgement.verdict}"]
    for finding in judgement.findings:
        note = f" ({finding.note})" if finding.note else ""
        lines.append(
            f"  {finding.what}: {effect_text(finding)}; claimed: {finding.rule}: {finding.verdict}{note}"
        )
    if judgement.needs:
        lines.append(f"needs: {judgement.needs}")
    if claim.prediction:
        lines.append(f"expected here: {claim.prediction}")
    return [*lines, f"not held fixed: {claim.confounder}"]
