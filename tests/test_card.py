"""A card says whether its run finished, and where not, at which step it diverged; never half of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from gan.card import Card, read_card, write_card
from gan.config import load_params
from gan.contract import TrainParams
from gan.errors import DataError

ROOT = Path(__file__).parents[1]


def fields() -> dict[str, Any]:
    method = load_params(ROOT / "params.yaml").recipes["mnist_tiny"]["dcgan"].method
    names = {"key": "mnist_tiny-dcgan-quick-0", "dataset": "mnist_tiny", "variant": "dcgan", "kind": "dcgan"}
    digests = ("data_digest", "code_digest", "weights_sha256", "raw_weights_sha256")
    numbers = {"format": 1, "image": [1, 28, 28], "steps": 20, "images_seen": 640, "seed": 0}
    mode = {"precision": "fp32", "num_threads": 1, "channels_last": True, "ema_exponent": 17.97}
    return names | numbers | mode | dict.fromkeys(digests, "a" * 64) | {"method": method}


def test_a_diverged_card_is_read_as_it_was_written(tmp_path: Path) -> None:
    card = Card(**fields(), status="diverged", diverged_at=20)
    write_card(tmp_path, card)
    assert read_card(tmp_path) == card


def test_a_card_from_before_divergence_was_recorded_is_that_of_a_finished_run(tmp_path: Path) -> None:
    write_card(tmp_path, Card(**fields()))
    written = json.loads((tmp_path / "card.json").read_text())
    assert (written.pop("status"), written.pop("diverged_at")) == ("finished", None)
    (tmp_path / "card.json").write_text(json.dumps(written))
    assert (read_card(tmp_path).status, read_card(tmp_path).diverged_at) == ("finished", None)


def test_a_card_of_format_2_holds_the_profile_and_one_of_format_1_need_not(tmp_path: Path) -> None:
    added = {"profile": "seed", "log_points": 200, "previews": 10}
    write_card(tmp_path, Card(**fields() | {"format": 2} | added))
    written = json.loads((tmp_path / "card.json").read_text())
    assert {name: written.pop(name) for name in added} == added
    (tmp_path / "card.json").write_text(json.dumps(written))
    with pytest.raises(DataError, match="a card of format 2 must hold profile, log_points, previews"):
        read_card(tmp_path)
    (tmp_path / "card.json").write_text(json.dumps(written | {"format": 1}))
    assert read_card(tmp_path).profile is None


def test_a_card_of_format_3_holds_the_device_and_an_older_one_need_not(tmp_path: Path) -> None:
    given = fields() | {"profile": "seed", "log_points": 200, "previews": 10}
    added = {"device": "cuda", "cuda_graphs": False, "resident_data": True}
    write_card(tmp_path, Card(**given | {"format": 3} | added))
    assert read_card(tmp_path).device == "cuda"
    written = json.loads((tmp_path / "card.json").read_text())
    assert {name: written.pop(name) for name in added} == added
    (tmp_path / "card.json").write_text(json.dumps(written))
    with pytest.raises(DataError, match="a card of format 3 must hold device, cuda_graphs, resident_data"):
        read_card(tmp_path)
    (tmp_path / "card.json").write_text(json.dumps(written | {"format": 2}))
    assert read_card(tmp_path).device is None


def test_a_card_holds_every_setting_of_training() -> None:
    assert TrainParams.model_fields.keys() <= Card.model_fields.keys()


@pytest.mark.parametrize(
    ("status", "step", "fault"),
    [
        ("diverged", None, "status is 'diverged', diverged_at is None"),
        ("finished", 7, "status is 'finished', diverged_at is 7"),
        ("diverged", 21, "beyond the 20 steps"),
        ("diverged", 0, "greater than 0"),
        ("stopped", None, "finished"),
    ],
)
def test_half_a_divergence_is_refused(tmp_path: Path, status: str, step: int | None, fault: str) -> None:
    write_card(tmp_path, Card(**fields()))
    written = json.loads((tmp_path / "card.json").read_text())
    (tmp_path / "card.json").write_text(json.dumps(written | {"status": status, "diverged_at": step}))
    with pytest.raises(DataError, match=fault):
        read_card(tmp_path)
