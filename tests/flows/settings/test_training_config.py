"""The configuration: which keys it knows, which values it refuses, and with which message."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from flows.settings.training_config import TrainingConfig, load_config, parse_config
from models.errors import InvalidConfig, InvalidInput
from models.kernel.ranges import Range
from models.recommenders.additive.blend import BlendSpec
from models.recommenders.additive.ials import IalsSpec
from models.recommenders.lightfm.spec import LightFMSpec
from models.recommenders.rating.spec import RatingSpec

DEMO = Path(__file__).parents[3] / "configs" / "ml-100k.yaml"
NEEDED = {"name": "job", "model_name": "model", "data": {"dir": "/partition"}}
# The head of the demo's file: these keys have no default, and pooling is allowed on public data.
RANGE = {"lowest": -8, "highest": 7, "step": 0.25}
DEMO_DIFFERS = {"name", "model_name", "data.dir", "evaluation.pooling_allowed"}


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def nested(dotted: str, value: Any) -> dict[str, Any]:
    """Return the required keys and one more."""
    raw = {**NEEDED, "data": dict(NEEDED["data"])}
    *parents, last = dotted.split(".")
    place: dict[str, Any] = raw
    for parent in parents:
        place = place.setdefault(parent, {})
    place[last] = value
    return raw


def leaves_of_model(kind: Any, prefix: str = "") -> set[str]:
    """Return every dotted key that the type knows, found from its declaration."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        parts = {name: field.annotation for name, field in kind.model_fields.items()}
        if parts.get("train"):
            parts["train"] = LightFMSpec  # the family that is not named is LightFM
    elif dataclasses.is_dataclass(kind):
        parts = {field.name: None for field in dataclasses.fields(kind)}
    else:
        return {prefix.rstrip(".")}
    return set().union(*(leaves_of_model(part, f"{prefix}{name}.") for name, part in parts.items()))


def leaves_of_dict(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        found: dict[str, Any] = {}
        for name, part in value.items():
            found |= leaves_of_dict(part, f"{prefix}{name}.")
        return found
    return {prefix.rstrip("."): value}


class TestUnknownKeys:
    @pytest.mark.parametrize(
        ("key", "near"),
        [
            ("sead", "seed"),
            ("train.dim", "train.dims"),
            ("federation.round", "federation.rounds"),
            ("evaluation.negative", "evaluation.negatives"),
            ("runner.thread", "runner.threads"),
            ("data.dirs", "data.dir"),
            ("contracts.embedings", "contracts.embeddings"),
            ("contracts.embeddings.max_nrom", "contracts.embeddings.max_norm"),
            ("fixed_point.biases.lowst", "fixed_point.biases.lowest"),
            ("contracts.updates.min_interaction", "contracts.updates.min_interactions"),
        ],
    )
    def test_name_the_file_the_key_and_the_nearest_one(self, tmp_path: Path, key: str, near: str) -> None:
        path = written(tmp_path, yaml.safe_dump(nested(key, 1)))
        with pytest.raises(InvalidConfig) as error:
            load_config(path)
        assert error.value.key == key
        assert str(path) in error.value.what
        assert key in error.value.what
        assert error.value.next_step == f"Did you mean {near}?"
        assert error.value.exit_code == 2

    def test_like_nothing_known_list_what_is_known(self) -> None:
        with pytest.raises(InvalidConfig, match=r"Known keys: .*cohort_share") as error:
            parse_config(nested("federation.zzz", 1), "file")
        assert error.value.key == "federation.zzz"

    @pytest.mark.parametrize(("name", "value"), [("merge_rule", "mean"), ("server_learning_rate", 0.5)])
    def test_that_have_moved_name_their_new_place(self, tmp_path: Path, name: str, value: Any) -> None:
        path = written(tmp_path, yaml.safe_dump(nested(f"federation.{name}", value)))
        with pytest.raises(InvalidConfig) as error:
            load_config(path)
        assert (error.value.key, error.value.next_step) == (f"federation.{name}", f"Set train.{name}.")
        plain = written(tmp_path, yaml.safe_dump(NEEDED))
        with pytest.raises(InvalidConfig, match=rf"Set train\.{name}"):
            load_config(plain, [f"federation.{name}={value}"])

    def test_an_override_is_blamed_for_its_own_key_only(self, tmp_path: Path) -> None:
        path = written(tmp_path, yaml.safe_dump({**NEEDED, "seed": 5}))
        with pytest.raises(InvalidConfig, match=r"^--set: train.dims: .*got 'many'") as refused:
            load_config(path, ["train.dims=many"])
        assert (refused.value.facts["key"], str(path) in str(refused.value)) == ("train.dims", False)
        wrong = written(tmp_path, yaml.safe_dump({**NEEDED, "seed": "x"}))
        with pytest.raises(InvalidConfig, match=f"^{re.escape(str(wrong))}: seed: "):
            load_config(wrong, ["train.dims=9"])

    def test_are_refused_in_overrides_too(self, tmp_path: Path) -> None:
        path = written(tmp_path, yaml.safe_dump(NEEDED))
        with pytest.raises(InvalidConfig, match=r"Did you mean train\.dims\?"):
            load_config(path, ["train.dim=8"])


class TestValues:
    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("train.dims", 0),
            ("train.learning_rate", 0),
            ("train.item_alpha", -1e-9),
            ("train.loss", "hinge"),
            ("train.merges_per_epoch", 0),
            ("federation.rounds", 0),
            ("train.merge_rule", "median"),
            ("federation.cohort_share", 0),
            ("federation.cohort_share", 1.01),
            ("federation.quorum_share", -0.1),
            ("federation.quorum_share", 1.1),
            ("federation.deadline_s", 0),
            ("train.server_learning_rate", 0),
            ("evaluation.every", 0),
            ("evaluation.negatives", 0),
            ("evaluation.users_share", 0),
            ("evaluation.seed", -1),
            ("runner.threads", 0),
            ("seed", -1),
            ("seed", "one"),
            ("name", "Upper Case"),
            ("model_name", "a/b"),
            ("start_from", "scratch"),
            ("train", 3),
            ("contracts.embeddings.max_norm", "wide"),
            # Numbers that compare with any limit as they like.
            ("federation.deadline_s", math.inf),
            ("runner.lease_s", math.nan),
            ("train.learning_rate", math.inf),
            ("contracts.embeddings.max_norm", math.inf),
            ("contracts.interactions.max_rating", -math.inf),
            # True is 1 in Python.
            ("seed", True),
            ("federation.rounds", True),
            ("federation.cohort_share", True),
            ("train.dims", True),
            ("contracts.updates.max_norm", False),
            ("federation.robust.share", 0.5),
            ("federation.robust.share", -0.1),
            ("federation.robust.group", 0),
            ("federation.robust.group", True),
            ("federation.robust.method", "mean"),
        ],
    )
    def test_out_of_range_name_the_key(self, key: str, value: Any) -> None:
        with pytest.raises(InvalidConfig) as error:
            parse_config(nested(key, value), "the file")
        assert error.value.key == key
        assert f"the file: {key}: " in error.value.what
        # As a file has it.
        assert (str(value).lower() if isinstance(value, bool) else repr(value)) in error.value.what

    @pytest.mark.parametrize("section", ["train", "federation", "contracts", "postprocessors"])
    def test_of_a_section_with_comments_only_are_the_defaults(self, section: str) -> None:
        values = None if section != "postprocessors" else []
        assert parse_config({**NEEDED, section: values}, "file") == parse_config(NEEDED, "file")

    def test_of_a_part_of_a_section_with_comments_only_are_the_defaults(self) -> None:
        config = parse_config({**NEEDED, "contracts": {"interactions": None}}, "file")
        assert config == parse_config(NEEDED, "file")

    @pytest.mark.parametrize("key", ["name", "model_name"])
    @pytest.mark.parametrize(
        "name",
        [
            "",
            ".",
            "..",
            "../a",
            "a/b",
            "/a",
            "a\\b",
            ".a",
            "a b",
            "a\n",
            "a%2fb",
            "a#b",
            "a?b",
            "ä",
            "医",
            "a" * 129,
        ],
    )
    def test_names_that_could_be_paths_are_refused(self, key: str, name: str) -> None:
        with pytest.raises(InvalidConfig) as error:
            parse_config({**NEEDED, key: name}, "file")
        assert error.value.key == key

    @pytest.mark.parametrize("missing", ["name", "model_name", "data"])
    def test_without_a_default_are_required(self, missing: str) -> None:
        with pytest.raises(InvalidConfig) as error:
            parse_config({key: value for key, value in NEEDED.items() if key != missing}, "the file")
        assert error.value.key == missing

    @pytest.mark.parametrize("text", ["[1, 2", "- a\n- b", "just words", "\x00"])
    def test_of_a_file_that_holds_no_keys(self, tmp_path: Path, text: str) -> None:
        path = written(tmp_path, text)
        with pytest.raises(InvalidConfig) as error:
            load_config(path)
        assert str(path) in str(error.value)

    def test_of_a_file_in_another_encoding(self, tmp_path: Path) -> None:
        path = tmp_path / "job.yaml"
        path.write_bytes("name: café".encode("latin-1"))
        with pytest.raises(InvalidConfig, match="cannot be read"):
            load_config(path)

    def test_of_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidConfig, match="cannot be read"):
            load_config(tmp_path / "absent.yaml")


class TestOverrides:
    def load(self, tmp_path: Path, *overrides: str) -> TrainingConfig:
        return load_config(written(tmp_path, yaml.safe_dump({**NEEDED, "seed": 5})), overrides)

    def test_take_the_types_of_yaml(self, tmp_path: Path) -> None:
        config = self.load(
            tmp_path,
            "train.dims=64",
            "train.learning_rate=0.125",
            "train.loss=bpr",
            "evaluation.silo_only=false",
            "runner.threads=null",
            "contracts.updates={max_norm: 7}",
        )
        assert config.train.dims == 64
        assert config.train.learning_rate == 0.125
        assert config.train.loss == "bpr"
        assert config.evaluation.silo_only is False
        assert config.runner.threads is None
        assert config.contracts.updates.max_norm == 7
        assert config.seed == 5

    def test_reach_sections_the_file_does_not_have(self, tmp_path: Path) -> None:
        assert self.load(tmp_path, "contracts.embeddings.max_norm=3").contracts.embeddings.max_norm == 3

    def test_the_last_of_two_counts(self, tmp_path: Path) -> None:
        assert self.load(tmp_path, "seed=6", "seed=7").seed == 7

    def test_keep_further_equals_signs_in_the_value(self, tmp_path: Path) -> None:
        assert self.load(tmp_path, "data.dir=/a=b").data.dir == "/a=b"

    @pytest.mark.parametrize(
        "path", ["/a #b", "/a: b", "/a\nb", "/a'b", '/a"b', "/ä", "/a%20b?c", "/*a", "/{a}", "/a, b", "/$"]
    )
    def test_keep_a_path_as_it_is(self, tmp_path: Path, path: str) -> None:
        assert self.load(tmp_path, f"data.dir={path}").data.dir == path

    def test_keep_an_existing_path_with_the_name_of_a_variable(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SHOP", "other")
        assert self.load(tmp_path, f"data.dir={tmp_path}/$SHOP").data.dir == f"{tmp_path}/other"
        (tmp_path / "$SHOP").mkdir()
        assert self.load(tmp_path, f"data.dir={tmp_path}/$SHOP").data.dir == f"{tmp_path}/$SHOP"

    @pytest.mark.parametrize("override", ["seed", "=3", ""])
    def test_without_key_or_equals_sign(self, tmp_path: Path, override: str) -> None:
        with pytest.raises(InvalidConfig, match="--set needs key=value"):
            self.load(tmp_path, override)

    def test_below_a_scalar(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidConfig, match="'seed' is a value") as error:
            self.load(tmp_path, "seed.low=3")
        assert error.value.key == "seed.low"

    def test_below_an_empty_section(self, tmp_path: Path) -> None:
        path = written(tmp_path, yaml.safe_dump({**NEEDED, "train": None}))
        assert load_config(path, ["train.dims=9"]).train.dims == 9

    def test_with_a_value_that_is_not_yaml(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidConfig, match="the value is not YAML") as error:
            self.load(tmp_path, "seed=[1")
        assert error.value.key == "seed"


class TestFamilies:
    def test_are_chosen_by_name_with_keys_of_their_own(self) -> None:
        config = parse_config({**NEEDED, "train": {"family": "ials", "dims": 8}}, "file")
        assert config.train == IalsSpec(dims=8)
        assert parse_config(json.loads(config.model_dump_json()), "file").train == config.train

    @pytest.mark.parametrize("family", ["svd", "", None, 3, ["ease"], "\ud800"])
    def test_an_unknown_one_is_refused(self, family: Any) -> None:
        with pytest.raises(InvalidConfig) as caught:
            parse_config({**NEEDED, "train": {"family": family}}, "file")
        assert caught.value.what == f"file: train.family: there is no family {family!r}."
        assert caught.value.next_step == (
            "Choose one of lightfm, ials, ease, next_item, blend, dp_items, bayesian_mf."
        )

    def test_a_key_of_another_family_is_unknown(self) -> None:
        with pytest.raises(InvalidConfig, match=r"unknown key train\.dims"):
            parse_config({**NEEDED, "train": {"family": "ease", "dims": 8}}, "file")

    def test_a_value_out_of_range_names_the_key_without_the_family(self) -> None:
        with pytest.raises(InvalidConfig) as caught:
            parse_config({**NEEDED, "train": {"family": "ease", "regularisation": 0}}, "file")
        assert caught.value.facts["key"] == "train.regularisation"

    @pytest.mark.parametrize("family", ["ease", "next_item", "blend"])
    def test_a_family_solved_at_once_cannot_start_from_a_champion(self, family: str) -> None:
        with pytest.raises(InvalidConfig, match="solves for a new model"):
            parse_config({**NEEDED, "start_from": "champion", "train": {"family": family}}, "file")

    @pytest.mark.parametrize("family", ["lightfm", "ials"])
    def test_a_family_trained_by_rounds_can_start_from_a_champion(self, family: str) -> None:
        config = parse_config({**NEEDED, "start_from": "champion", "train": {"family": family}}, "file")
        assert config.start_from == "champion"

    def test_the_other_demos_are_valid_and_name_the_defaults(self) -> None:
        assert load_config(DEMO.with_name("ml-100k-blend.yaml")).train == BlendSpec()
        ratings = load_config(DEMO.with_name("ml-100k-ratings.yaml"))
        assert ratings.train == RatingSpec()
        # One round that counts, some that find directions, then sweeps of which enough draws are kept.
        sweeps = ratings.federation.rounds - 1 - ratings.train.direction_rounds
        assert (sweeps - ratings.train.burn_in) / ratings.train.thinning >= ratings.train.draws

    def test_a_scale_needs_two_ends(self) -> None:
        with pytest.raises(InvalidInput, match="needs two ends"):
            parse_config({**NEEDED, "train": {"family": "bayesian_mf", "lowest": 5}}, "file")


class TestSmallUpdates:
    def test_masked_updates_have_all_rows(self) -> None:
        few = {**NEEDED, "train": {"sent_rows": 0.1, "sent_bits": 8}}
        assert parse_config(few, "file").train.sent_rows == 0.1
        with pytest.raises(InvalidConfig, match="a masked update has all rows") as error:
            parse_config({**few, "privacy": {"secure_sum": True}}, "file")
        assert error.value.key == "train.sent_rows"
        bits = {**NEEDED, "train": {"sent_bits": 6}, "privacy": {"secure_sum": True}}
        assert parse_config(bits, "file").train.sent_bits == 6


class TestSecureSums:
    @pytest.mark.parametrize("family", ["ease", "next_item", "blend"])
    def test_the_same_statistics_are_summed_once(self, family: str) -> None:
        raw = {**NEEDED, "train": {"family": family}, "privacy": {"secure_sum": True}}
        assert parse_config({**raw, "federation": {"rounds": 1}}, "file").privacy.secure_sum
        with pytest.raises(InvalidConfig, match="same statistics in each round") as error:
            parse_config({**raw, "federation": {"rounds": 2}}, "file")
        assert error.value.key == "federation.rounds"
        several = {**raw, "train": {"family": "ials"}, "federation": {"rounds": 2}}
        assert parse_config(several, "file").federation.rounds == 2


class TestFixedPoint:
    def test_ranges_are_read_by_array_and_written_again(self) -> None:
        config = parse_config({**NEEDED, "fixed_point": {"biases": RANGE}}, "file")
        assert config.fixed_point == {"biases": Range(-8, 7, 0.25)}
        again = parse_config(json.loads(config.model_dump_json()), "file")
        assert again.fixed_point == config.fixed_point

    def test_an_override_sets_one(self, tmp_path: Path) -> None:
        path = written(tmp_path, yaml.safe_dump(NEEDED))
        text = "fixed_point.biases={lowest: -8, highest: 7, step: 0.25}"
        assert load_config(path, [text]).fixed_point == {"biases": Range(-8, 7, 0.25)}

    @pytest.mark.parametrize(
        ("family", "array", "known"),
        [
            ("lightfm", "bias", "bias_accumulators, biases, embedding_accumulators, embeddings"),
            ("ease", "biases", "gram"),
            ("blend", "users", "gram, memory_gram, transitions"),
        ],
    )
    def test_an_array_is_one_of_the_family_s_contributions(self, family: str, array: str, known: str) -> None:
        raw = {**NEEDED, "train": {"family": family}, "fixed_point": {array: RANGE}}
        with pytest.raises(InvalidConfig, match=f"have no array '{array}'") as error:
            parse_config(raw, "file")
        assert error.value.key == f"fixed_point.{array}"
        assert error.value.next_step == f"Its arrays: {known}."

    @pytest.mark.parametrize(
        ("value", "key", "what"),
        [
            (3, "fixed_point", "valid dictionary, got 3"),
            ([RANGE], "fixed_point", "valid dictionary"),
            ({"biases": 3}, "fixed_point.biases", "dictionary or an instance of Range, got 3"),
            ({"biases": {"lowest": -8, "step": 0.25}}, "fixed_point.biases.highest", "required"),
            ({"biases": RANGE | {"highest": 7.5}}, "fixed_point.biases.highest", "valid integer"),
            ({"biases": RANGE | {"lowest": "low"}}, "fixed_point.biases.lowest", "valid integer"),
            ({"biases": RANGE | {"highest": True}}, "fixed_point.biases.highest", "expected a number"),
            ({"biases": RANGE | {"step": 0.3}}, "fixed_point", "expected a power of two"),
            ({"biases": RANGE | {"step": math.nan}}, "fixed_point", "expected a power of two"),
            ({"biases": RANGE | {"lowest": 1}}, "fixed_point", "expected ends around 0"),
        ],
    )
    def test_another_form_is_refused(self, value: Any, key: str, what: str) -> None:
        with pytest.raises(InvalidInput, match=what) as error:
            parse_config({**NEEDED, "fixed_point": value}, "the file")
        assert error.value.key == key
        assert error.value.what.startswith(f"the file: {key}: ")


class TestWithoutEffect:
    def test_an_error_names_the_file_the_key_and_the_way_out(self) -> None:
        train = {"merge_rule": "mean", "server_learning_rate": 0.5}
        with pytest.raises(InvalidConfig) as error:
            parse_config({**NEEDED, "train": train}, "the file")
        assert error.value.key == "train.server_learning_rate"
        assert error.value.what.startswith("the file: train.server_learning_rate: ")
        assert "merge_rule 'mean'" in error.value.what
        assert error.value.next_step == "Leave server_learning_rate at 1.0, or change merge_rule."

    @pytest.mark.parametrize(
        ("key", "value", "beside"),
        [
            ("runner.silos", ["ash"], {}),
            ("runner.poll_s", 0.1, {}),
            ("runner.away_s", 1.0, {}),
            ("runner.threads", 2, {"data": {"items": "/items.csv"}, "runner": {"kind": "silos"}}),
            ("runner.processes", 2, {}),
            ("runner.address", "tcp://10.0.0.1:8786", {}),
            ("runner.threads", 2, {"runner": {"kind": "dask"}}),
            ("runner.poll_s", 0.1, {"runner": {"kind": "ray"}}),
            ("runner.processes", 2, {"runner": {"kind": "ray", "address": "auto"}}),
            ("evaluation.negatives", 9, {"train": {"family": "bayesian_mf"}}),
            ("evaluation.users_share", 0.5, {"train": {"family": "bayesian_mf"}}),
            ("contracts.embeddings.max_bias", 2.0, {"train": {"family": "ials"}}),
            ("contracts.embeddings.max_bias", 2.0, {"train": {"family": "blend"}}),
            ("federation.robust.share", 0.2, {}),
            ("federation.robust.share", 0.2, {"federation": {"robust": {"method": "median"}}}),
            ("federation.robust.share", 0.2, {"federation": {"robust": {"method": "norm_bound"}}}),
            ("federation.robust.group", 3, {}),
            ("train.cooldown_share", 0.25, {"federation": {"rounds": 4}}),
            ("train.thinning", 2, {"train": {"family": "bayesian_mf"}, "federation": {"rounds": 17}}),
            ("train.draws", 2, {"train": {"family": "bayesian_mf"}, "federation": {"rounds": 17}}),
            ("train.burn_in", 20, {"train": {"family": "bayesian_mf"}, "federation": {"rounds": 17}}),
            ("train.lasting_forgetting", 0.1, {"train": {"family": "blend", "lasting_weight": 0}}),
        ],
    )
    def test_with_another_section_is_refused_and_the_default_is_not(
        self, key: str, value: Any, beside: dict[str, Any]
    ) -> None:
        plain = {**NEEDED, **beside}
        assert parse_config(plain, "the file")
        section, _, rest = key.partition(".")
        *parents, last = rest.split(".")
        inner: dict[str, Any] = {last: value}
        own = plain.get(section, {})
        for parent in reversed(parents):
            inner = {parent: {**own.get(parent, {}), **inner}}
        changed = {**plain, section: {**own, **inner}}
        with pytest.raises(InvalidConfig, match="has no effect with") as error:
            parse_config(changed, "the file")
        assert error.value.key == key
        assert key in error.value.what
        assert error.value.next_step

    @pytest.mark.parametrize("group", [1, 2])
    def test_secure_sums_of_fewer_than_three_are_refused(self, group: int) -> None:
        robust = {"method": "median", "group": group}
        raw = {**NEEDED, "federation": {"robust": robust}, "privacy": {"secure_sum": True}}
        with pytest.raises(InvalidConfig, match=f"a group of {group} hides too little") as error:
            parse_config(raw, "the file")
        assert error.value.key == "federation.robust.group"
        assert error.value.next_step == "Set federation.robust.group to at least 3."
        robust["group"] = 3
        assert parse_config(raw, "the file").federation.robust.group == 3
        assert parse_config({**NEEDED, "privacy": {"secure_sum": True}}, "the file").privacy.secure_sum

    def test_a_value_is_accepted_once_its_condition_holds(self) -> None:
        raw = {**NEEDED, "train": {"cooldown_share": 0.26}, "federation": {"rounds": 4}}
        assert parse_config(raw, "the file").train.cooldown_share == 0.26
        kept = {"family": "bayesian_mf", "thinning": 2}
        assert parse_config({**NEEDED, "train": kept, "federation": {"rounds": 18}}, "the file")
        limits = {"contracts": {"embeddings": {"max_bias": 2.0}}}
        assert parse_config({**NEEDED, **limits}, "the file")


class TestPlaces:
    def test_may_begin_with_the_name_of_the_home(self, home: Path) -> None:
        for spelling in ("$FEDREC_HOME/data/x", "${FEDREC_HOME}/data/x"):
            assert parse_config(nested("data.dir", spelling), "file").data.dir == str(home / "data" / "x")

    def test_are_absolute_from_the_start(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert parse_config(nested("data.dir", "here/../there"), "file").data.dir == str(tmp_path / "there")

    def test_and_parallelism_do_not_decide_the_result(self) -> None:
        plain = parse_config(NEEDED, "file").deciding()
        moved = parse_config(
            {**NEEDED, "data": {"dir": "/elsewhere"}, "runner": {"threads": 3}}, "file"
        ).deciding()
        assert moved == plain

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("seed", 2),
            ("train.dims", 31),
            ("federation.cohort_share", 0.5),
            ("evaluation.negatives", 9),
            ("evaluation.users_share", 0.5),
            ("contracts.updates.max_norm", 1.0),
            ("fixed_point.biases", RANGE),
            ("start_from", "champion"),
        ],
    )
    def test_leave_all_other_settings_to_decide_it(self, key: str, value: Any) -> None:
        assert parse_config(nested(key, value), "file").deciding() != parse_config(NEEDED, "file").deciding()


class TestDemo:
    def test_names_every_key_that_exists(self) -> None:
        raw = yaml.safe_load(DEMO.read_text())
        known = {key for key in leaves_of_model(TrainingConfig) if not key.startswith("contracts.")}
        assert set(leaves_of_dict(raw)) == known | {"contracts"}

    def test_differs_from_the_defaults_only_where_its_head_says_so(self) -> None:
        demo = leaves_of_dict(load_config(DEMO).model_dump(mode="json"))
        default = leaves_of_dict(parse_config(NEEDED, "file").model_dump(mode="json"))
        assert {key for key in demo if demo[key] != default[key]} == DEMO_DIFFERS
        head = DEMO.read_text().partition("\n\n")[0]
        assert all(key in head for key in DEMO_DIFFERS)
        assert demo["evaluation.pooling_allowed"] is True
