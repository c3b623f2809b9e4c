"""The file that defines a search."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.settings.tuning_config import load_tuning, with_values
from models.errors import InvalidConfig

SHIPPED = Path(__file__).parents[3] / "configs" / "tuning.yaml"


def test_the_shipped_search_is_valid_and_arms_differ_by_the_federations_keys() -> None:
    tuning = load_tuning(SHIPPED)
    federated, centralised = tuning.space("federated"), tuning.space("centralised")
    assert set(centralised) < set(federated)
    assert all(key.startswith("train.") for key in centralised)
    assert "train.merge_rule" in federated


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 3", "Did you mean epochs?"),
        ("both: {train.dims: {choices: [1], low: 2, high: 3}}", "needs either choices, or low and high"),
        ("both: {train.dims: {low: 2}}", "needs either choices, or low and high"),
        ("both: {train.dims: {}}", "needs either choices, or low and high"),
        ("both: {train.dims: {low: 3, high: 2}}", "low must be below high"),
        ("both: {train.dims: {low: 0, high: 2, log: true}}", "low must be above 0"),
        ("both: {train.dims: {choices: [1, 2], log: true}}", "log has no effect on choices"),
        ("{epochs: 2, evaluations: 3}", "3 evaluations need as many epochs, but there are 2"),
        ("both: {evaluation.every: {choices: [1]}}", "evaluation.every has no effect on a trial"),
        ("federated: {federation.rounds: {choices: [1]}}", "federation.rounds has no effect on a trial"),
        (
            "both: {train.proximal: {choices: [0.1]}}",
            "in the centralised arm: move it to federated",
        ),
        ("both: {federation.cohort_share: {choices: [0.1]}}", "move it to federated"),
        ("both: {train.dims: {choice: [1]}}", "Did you mean both.train.dims.choices?"),
        ("metrics: [ndcg]", "there is no metric 'ndcg'"),
    ],
)
def test_a_wrong_search_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "search.yaml"
    path.write_text(text)
    with pytest.raises(InvalidConfig, match=message.replace("?", r"\?")):
        load_tuning(path)


def test_values_are_set_in_their_sections_and_the_original_is_not_changed() -> None:
    config = {"name": "a", "train": {"dims": 4, "loss": "warp"}}
    assert with_values(config, {"train.dims": 8}) == {"name": "a", "train": {"dims": 8, "loss": "warp"}}
    assert config["train"] == {"dims": 4, "loss": "warp"}
    for key in ("dims", "name.dims", "trains.dims"):
        with pytest.raises(InvalidConfig, match=f"'{key}', which is not a key of a section"):
            with_values(config, {key: 8})
