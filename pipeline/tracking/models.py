"""Owns reading registered models: versions, aliases, scores and downloads.

Reading takes the weights and the card only: code that lies in a registry is never run here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan.card import CARD, read_card, read_weights
from gan.errors import ConfigError, DataError
from gan.metrics.catalogue import BY_NAME
from gan.metrics.names import SUFFIXES, MetricName
from pipeline.tracking.database import load_mlflow, reason_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

WEIGHTS = "generator.safetensors"
# The newest version that was registered here. MLflow's own alias of this name also counts those that
# people registered by hand, which have neither card nor digest.
LATEST = "latest"


@dataclass(frozen=True)
class Version:
    """One version of a registered model, as its tags describe it."""

    model: str
    version: int
    aliases: list[str]
    key: str
    weights_sha256: str
    metrics: dict[str, float]


def list_models(client: MlflowClient) -> list[Version]:
    """Every version of every registered model, by name, newest first."""
    names = sorted(model.name for model in _pages(client.search_registered_models))
    return [version for name in names for version in list_versions(client, name)]


def list_versions(client: MlflowClient, name: str) -> list[Version]:
    """Versions of one model, newest first; none when there is no such model."""
    mlflow = load_mlflow()
    try:
        aliases = client.get_registered_model(name).aliases
    except mlflow.MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return []
    # A filter can't hold a quote, and people may have given one to a model of their own.
    wanted = None if "'" in name else f"name = '{name}'"
    pages = _pages(partial(client.search_model_versions, wanted))
    found = [version for version in pages if version.name == name]
    ours = (str(version.version) for version in found if "weights_sha256" in version.tags)
    newest = max(ours, key=int, default="")
    versions = [_describe(version, aliases | {LATEST: newest}) for version in found]
    return sorted(versions, key=lambda version: -version.version)


def find_model(client: MlflowClient, name: str, reference: str) -> Version:
    """Look up a version by number, alias or `latest`. Raises ConfigError saying what there is instead."""
    versions = list_versions(client, name)
    # Numbers come first, since an alias may look like one.
    found = [version for version in versions if reference == str(version.version)]
    found += [version for version in versions if reference in version.aliases]
    if found:
        return found[0]
    raise ConfigError(f"no model {name}@{reference}; {_what_there_is(client)}")


def find_version_of(client: MlflowClient, name: str, weights_sha256: str) -> Version:
    """Look up the version with these weights. Raises DataError when there is none."""
    found = find_version(client, name, weights_sha256)
    if found is None:
        raise DataError(f"{name}: weights {weights_sha256} aren't registered; run 'gantry sync'")
    return find_model(client, name, str(found.version))


def find_version(client: MlflowClient, name: str, weights_sha256: str) -> Any | None:
    """MLflow's own version with these weights, the oldest of several; None without one."""
    wanted = f"name = '{name}' and tag.weights_sha256 = '{weights_sha256}'"
    found = client.search_model_versions(wanted)
    return min(found, key=lambda version: int(version.version), default=None)


def download(client: MlflowClient, version: Version, folder: Path) -> Path:
    """Fetch card and weights of a version into a folder and check their digest. Returns the folder.

    Two files of fixed names and nothing else: neither a path nor code of the registry is used.
    Raises DataError when a file is missing or isn't the one that was registered, and for a version that
    somebody registered by other means.
    """
    if not version.weights_sha256:
        raise DataError(
            f"{version.model} version {version.version}: not registered by 'gantry', so nothing vouches for "
            f"its files; use {version.model}@{LATEST}"
        )
    mlflow = load_mlflow()
    source = client.get_model_version_download_uri(version.model, str(version.version))
    for name in (CARD, WEIGHTS):
        try:
            mlflow.artifacts.download_artifacts(f"{source}/artifacts/{name}", dst_path=str(folder))
        except (mlflow.MlflowException, OSError) as error:
            raise DataError(
                f"{version.model} version {version.version}: {name} can't be read: {reason_of(error)}; "
                "'gantry sync' where it was trained uploads what was deleted"
            ) from error
    card = read_card(folder)
    if card.weights_sha256 != version.weights_sha256:
        raise DataError(
            f"{version.model} version {version.version}: registered with weights {version.weights_sha256}, "
            f"its card says {card.weights_sha256}; don't use it"
        )
    read_weights(folder, card)
    return folder


def metrics_table(metrics: Mapping[str, float]) -> str:
    """Format metrics as an indented block, since MLflow's Markdown tables are cramped."""
    header = f"    {'':28}{'averaged':>10}{'raw':>10}{'floor':>10}{'ceiling':>10}"
    lines = []
    for name in plain_metrics(metrics):
        parsed = MetricName.parse(name)
        ends = [str(parsed._replace(suffix=suffix)) for suffix in SUFFIXES] if parsed else [name]
        values = [metrics.get(end) for end in ends]
        lines.append(f"    {name:28}" + "".join(f"{'' if v is None else f'{v:.4g}':>10}" for v in values))
    return "\n".join([header, *lines, ""])


def plain_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Scores of the averaged generator alone."""
    return {
        name: value
        for name, value in sorted(metrics.items())
        if not ((parsed := MetricName.parse(name)) and parsed.suffix)
    }


def _describe(found: Any, aliases: Mapping[str, str]) -> Version:
    return Version(
        model=found.name,
        version=int(found.version),
        aliases=sorted(alias for alias, number in aliases.items() if str(number) == str(found.version)),
        key=found.tags.get("key", ""),
        weights_sha256=found.tags.get("weights_sha256", ""),
        metrics=_metrics_of(found.tags),
    )


def _metrics_of(tags: Mapping[str, str]) -> dict[str, float]:
    """Scores among a version's tags, without those that somebody overwrote with text or with NaN.

    People set tags too, such as `is_approved`.
    """
    metrics = {}
    for name, text in sorted(tags.items()):
        parsed = MetricName.parse(name)
        if parsed and parsed.metric in BY_NAME and not parsed.suffix:
            with suppress(ValueError):
                metrics[name] = float(text)
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def _pages(search: Any) -> Iterator[Any]:
    page = search()
    yield from page
    while page.token:
        page = search(page_token=page.token)
        yield from page


def _what_there_is(client: MlflowClient) -> str:
    known = [
        f"{version.model}@{'|'.join([str(version.version), *version.aliases])}"
        for version in list_models(client)
    ]
    return f"there are {', '.join(known[:20])}" if known else "nothing is registered here; run 'make repro'"
