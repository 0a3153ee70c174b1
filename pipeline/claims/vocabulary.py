"""Owns the names that a run's files can have: scalars of its history, scores, scores along the run.

Declared, since a claim is checked before anything was trained, and apart from the objectives, since a change
of their files retrains. Tests train every entry and score snapshots to hold the lists complete.
"""

from __future__ import annotations

from gan.config import Params
from gan.contract import VariantParams
from gan.metrics.catalogue import BY_NAME, METRICS

_LOSSES = ("loss/critic", "loss/generator")
_SCORES = ("critic/real", "critic/fake")
_ENERGIES = ("critic/energy_real", "critic/energy_fake", "critic/energy_held_out")
_PENALTY = ("critic/penalty", "critic/gradient_norm")
_LOGITS = (*_LOSSES, *_SCORES, "critic/held_out")
_WASSERSTEIN = (*_LOSSES, *_SCORES, "critic/wasserstein", "critic/wasserstein_held_out")
_POTENTIALS = ("coulomb/potential_real", "coulomb/potential_fake", "coulomb/field_real", "coulomb/field_fake")
_BEGAN = ("began/k", "began/balance", "began/measure", "generator/outside")

# Of each kind; held-out ones exist only where there are held-out images.
SCALARS: dict[str, tuple[str, ...]] = {
    "gan": _LOGITS,
    "dcgan": _LOGITS,
    "lsgan": (*_LOGITS, "loss/critic_real", "loss/critic_fake"),
    "dragan": (*_LOGITS, *_PENALTY),
    "wgan": _WASSERSTEIN,
    "wgan_gp": (*_WASSERSTEIN, *_PENALTY),
    "wgan_penalty": (*_WASSERSTEIN, *_PENALTY),
    "ebgan": (*_LOSSES, *_ENERGIES, "critic/below_margin", "generator/pulling_away"),
    "began": (*_LOSSES, *_ENERGIES, *_BEGAN),
    "coulomb": (*_LOSSES, "critic/held_out", *_POTENTIALS),
}
UNPENALISED = ("unit_norm", "saturating_estimate")  # constraints of wgan_penalty that add nothing to the loss
SNAPSHOT_METRICS = ("fid", "precision", "recall", "classes")


def history_scalars(method: VariantParams) -> list[str]:
    """Names of the scalars that the history of a recipe's runs can have, beside step and images_seen."""
    names = SCALARS.get(method.kind, _LOSSES)
    plain = getattr(method, "constraint", None) in UNPENALISED
    return [name for name in names if not (plain and name in _PENALTY)]


def score_names(dataset: str, params: Params) -> list[str]:
    """Short names of the metrics that a data set's samples can have."""
    named = _named_as(dataset, params)
    return [metric.name for metric in METRICS if metric.needs in ("any", named)]


def snapshot_score_names(dataset: str, params: Params) -> list[str]:
    """Short names of the metrics that the snapshots along a run can have."""
    named = _named_as(dataset, params)
    return [name for name in SNAPSHOT_METRICS if BY_NAME[name].needs in ("any", named)]


def _named_as(dataset: str, params: Params) -> str:
    has_modes = params.datasets[dataset].split in ("stacked", "stacked_every_fifth", "mixture")
    return "modes" if has_modes else "classes"
