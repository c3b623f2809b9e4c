"""Tags and aliases that people edit in MLflow's UI: whatever their text, only this version is concerned."""

from __future__ import annotations

import pytest

from models.errors import CorruptArtifact, LedgerTampered, NotFound
from models.promotion.champions import Champion
from tasks.promotion import ledger
from tasks.promotion import promote as promotion
from tasks.promotion.served import chosen, resolve_decided
from tasks.promotion.versions import changed_tags, existence, identity
from tasks.publishing.publish import publish
from tasks.tracking import registry
from tasks.tracking.run_tracker import end_orphans
from tests.worlds.decisions import decision

TEXTS = [None, "", "abc", "-1", "²", "٣", "2.0", "9" * 4000, "x" * 4900, "2\n", "'; --"]
KEYS = ["fedrec.round", "fedrec.job", "fedrec.sha256", "fedrec.manifest", "fedrec.data", "fedrec.catalog"]


@pytest.fixture
def decided(world, evaluated):
    """Return versions 1 to 3, of which 1 and 2 became champion by what their records say."""
    for round_ in (1, 2, 3):
        world.register(round_, evaluated(0.3))
    for version, before in ((1, None), (2, 1)):
        evidence, _ = promotion.gather(world.client, "movies", version)
        made = decision(version, before)
        promotion.record(
            world.home, world.client, type(made)(**vars(made) | {"evidence": evidence.identity()})
        )
    return world


def edit(world, version: int, key: str, text: str | None) -> None:
    if text is None:
        world.client.delete_model_version_tag("movies", str(version), key)
    else:
        world.client.set_model_version_tag("movies", str(version), key, text)


def entries_of(world):
    return ledger.read_verified(world.home, world.client, "movies").entries


def standing_of(world):
    return promotion.standing_of(world.client, entries_of(world), "movies")


@pytest.mark.parametrize("key", ["fedrec.round", "fedrec.job"])
def test_a_champion_is_found_by_its_record_whatever_its_tags_say(decided, key):
    for text in TEXTS:
        edit(decided, 2, key, text)

        found = standing_of(decided)

        assert (found.champion, found.before, found.gone) == (2, 1, ()), text


@pytest.mark.parametrize("version", [1, 2])
def test_the_next_decision_restores_the_tags_of_champions(decided, version):
    kept = registry.tags_of(decided.client, "movies", version)
    for key in KEYS:
        edit(decided, version, key, "abc")

        standing = promotion.settle(decided.home, decided.client, "movies")

        assert standing.repaired == (
            f"restored: tag {key!r} of version {version} is 'abc', but the ledger says {kept[key]!r}",
        )
        assert registry.tags_of(decided.client, "movies", version) == kept
        assert promotion.settle(decided.home, decided.client, "movies").repaired == ()


def test_a_changed_tag_is_named_in_a_short_line(decided):
    edit(decided, 2, "fedrec.job", "x" * 4900)
    edit(decided, 1, "fedrec.sha256", None)

    lines = sorted(
        map(str, changed_tags(decided.client, entries_of(decided), "movies", standing_of(decided)))
    )

    assert lines[0].startswith("tag 'fedrec.job' of version 2 is 'xxx")
    assert "(4,900 characters)" in lines[0]
    assert len(lines[0]) < 250
    assert "tag 'fedrec.sha256' of version 1 is missing" in lines[1]
    assert len(lines) == 2


@pytest.mark.parametrize("text", [None, "abc", "7"])
def test_a_version_with_an_edited_round_can_become_champion(decided, text):
    edit(decided, 3, "fedrec.round", text)
    evidence, trial = promotion.gather(decided.client, "movies", 3)
    made = decision(3, 2)

    promotion.record(
        decided.home, decided.client, type(made)(**vars(made) | {"evidence": evidence.identity()})
    )

    assert (evidence.round, trial.error) == (3, None)
    assert standing_of(decided).champion == 3
    assert registry.tags_of(decided.client, "movies", 3)["fedrec.round"] == "3"


@pytest.mark.parametrize("key", ["fedrec.sha256", "fedrec.manifest"])
def test_a_digest_that_was_edited_fails_this_version_s_gate_and_no_other_version(decided, key):
    for text in TEXTS:
        edit(decided, 3, key, text)
        edit(decided, 3, "fedrec.round", text)

        evidence, trial = promotion.gather(decided.client, "movies", 3)

        assert "Version 3 of 'movies'" in (trial.error or "")
        assert evidence.round == -1
    assert promotion.gather(decided.client, "movies", 1)[1].error is None


def test_another_version_with_the_number_of_a_champion_is_not_it(decided, evaluated):
    assert not existence(decided.client, "movies")(Champion(2, "job-b", 2))
    assert not existence(decided.client, "movies")(Champion(2, "job-a", 3))
    assert not existence(decided.client, "movies")(Champion(9, "job-a", 2))
    (decided.folders[2] / "round.json").write_text("{")
    edit(decided, 2, "fedrec.round", "abc")
    assert not existence(decided.client, "movies")(Champion(2, "job-a", 2))


def test_the_round_of_a_tag_is_a_plain_number():
    rounds = {text: identity(1, {"fedrec.round": text}).round for text in TEXTS if text is not None}

    assert set(rounds.values()) == {-1}
    assert identity(1, {}) == Champion(1, "", -1)
    assert identity(1, {"fedrec.round": "0012", "fedrec.job": "j"}) == Champion(1, "j", 12)


def test_a_champion_with_an_edited_round_is_published_with_its_decision(decided):
    edit(decided, 2, "fedrec.round", "abc")

    pointer = publish(decided.home, decided.client, "movies")

    assert pointer.champion.bundle.startswith("2-")
    assert pointer.champion.decision["decided_by"] == "ada"


def test_a_champion_with_an_edited_digest_is_refused_with_the_next_step(decided):
    edit(decided, 2, "fedrec.manifest", "abc")

    with pytest.raises(CorruptArtifact, match=r"Version 2 of 'movies'.*says 'abc'.*restores the tags"):
        publish(decided.home, decided.client, "movies")


@pytest.mark.parametrize(("alias", "version"), [("champion", 1), ("champion", 3), ("previous", 3)])
def test_no_command_answers_from_an_alias_that_was_moved_without_a_decision(decided, alias, version):
    assert resolve_decided(decided.home, decided.client, "movies", alias) == {"champion": 2}.get(alias, 1)
    decided.client.set_registered_model_alias("movies", alias, str(version))

    with pytest.raises(LedgerTampered, match=f"names version {version}, but no decision made it") as caught:
        chosen(decided.home, "movies", alias)

    assert "fedrec promote --model movies --version 2 restores" in caught.value.next_step
    assert chosen(decided.home, "movies", str(version)) == ("movies", str(version))


def test_without_any_decision_the_alias_counts(world, evaluated):
    world.register(1, evaluated(0.3))
    with pytest.raises(NotFound, match="has no champion"):
        chosen(world.home, None, "champion")
    world.client.set_registered_model_alias("movies", "champion", "1")

    assert chosen(world.home, None, "champion") == ("movies", "1")


def test_an_alias_of_the_user_s_own_needs_no_decision(decided):
    decided.client.set_registered_model_alias("movies", "trial", "3")

    assert chosen(decided.home, "movies", "trial") == ("movies", "3")
    with pytest.raises(NotFound, match="no alias 'other'"):
        chosen(decided.home, "movies", "other")


def test_a_removed_alias_and_deleted_versions_are_told_apart(decided):
    decided.client.delete_registered_model_alias("movies", "champion")
    with pytest.raises(NotFound, match="was removed; the ledger says version 2") as removed:
        chosen(decided.home, "movies", "champion")
    assert "fedrec promote --model movies --version 2 restores it" in removed.value.next_step

    decided.client.delete_model_version("movies", "2")
    with pytest.raises(NotFound, match="version 2, was deleted from the registry") as deleted:
        chosen(decided.home, "movies", "champion")
    assert "returns to version 1" in deleted.value.next_step

    for version in ("1", "3"):
        decided.client.delete_model_version("movies", version)
    with pytest.raises(NotFound, match="no other version is left") as none:
        chosen(decided.home, "movies", "champion")
    assert "Train the model again" in none.value.next_step


def test_without_a_ledger_deleted_versions_are_no_missing_champion(world, evaluated):
    world.register(1, evaluated(0.3))
    world.client.delete_model_version("movies", "1")

    with pytest.raises(NotFound, match="no version is registered"):
        chosen(world.home, "movies", "champion")


def test_a_model_without_fedrec_s_tags_is_named_as_such(world, evaluated):
    version = world.register(1, evaluated(0.3))
    edit(world, version, "fedrec.job", None)
    assert registry.resolve_model_name(world.client, "movies") == "movies"
    world.client.set_registered_model_tag("movies", "fedrec.kind", "other")

    with pytest.raises(NotFound, match="'movies' is in MLflow, but it is not tagged") as caught:
        registry.resolve_model_name(world.client, "movies")
    assert "fedrec.kind" in caught.value.next_step


def test_a_run_whose_tag_names_no_job_of_this_home_is_left_alone(world, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (world.home.jobs / "job-a").mkdir(parents=True)
    for text in (str(outside), "..", "", "x" * 3000, "a/b", ".", "job-a/../job-a"):
        world.client.set_tag(world.run_id, "fedrec.job", text)
        assert end_orphans(world.client, world.home) == []
    assert world.client.get_run(world.run_id).info.status == "RUNNING"
    # Not even a lock was left there.
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("version", ["9" * 20, "9" * 5000, "0", "007"])
def test_any_number_of_a_version_is_answered(decided, version):
    if version == "007":
        decided.client.delete_model_version("movies", "3")
    with pytest.raises(NotFound, match="has no version"):
        registry.load_version(decided.client, "movies", version)
    if len(version) < 100:
        with pytest.raises(NotFound, match="has no version"):
            promotion.gather(decided.client, "movies", int(version))
