"""The ledger on disk: every edit is found, crashes lose nothing, and interrupted decisions are completed."""

from __future__ import annotations

import threading

import pytest

from models.errors import JobBusy, LedgerTampered, NotFound
from models.ledger import chain
from models.promotion.champions import Champion, Standing
from tasks.promotion import ledger
from tasks.promotion import promote as promotion
from tasks.promotion.ledger_heads import EXPERIMENT, head_tag, heads
from tasks.promotion.versions import decision_of
from tasks.tracking import registry
from tests.worlds.chains import next_entry
from tests.worlds.decisions import decision

HASH = "a" * 64


@pytest.fixture
def decided(world, evaluated):
    """Return versions 1 to 3, of which 1 and 2 became champion: a ledger of four entries."""
    for round_ in (1, 2, 3):
        world.register(round_, evaluated(0.3))
    promotion.record(world.home, world.client, decision(1))
    promotion.record(world.home, world.client, decision(2, 1))
    return world


def versions(standing: Standing) -> list[int]:
    return [each.version for each in standing.stack]


def lines_of(world) -> list[bytes]:
    return world.home.ledger.read_bytes().splitlines(keepends=True)


def found_at(world) -> int:
    with pytest.raises(LedgerTampered) as caught:
        ledger.read_verified(world.home, world.client)
    return caught.value.position


def test_without_a_file_the_ledger_is_empty_and_intact(world):
    assert ledger.read_verified(world.home, world.client) == ledger.LedgerFile([])


def test_a_decision_is_written_then_applied(decided):
    entries = ledger.read_verified(decided.home, decided.client).entries

    assert [entry.body["type"] for entry in entries] == ["decision", "applied", "decision", "applied"]
    assert decided.aliases() == {"champion": 2, "previous": 1}
    assert heads(decided.client) == {"movies": f"4:{entries[3].hash}"}


@pytest.mark.parametrize("position", [1, 2, 3, 4])
def test_an_edited_line_is_found(decided, position):
    lines = lines_of(decided)
    lines[position - 1] = lines[position - 1].replace(b'"movies"', b'"Movies"')
    decided.home.ledger.write_bytes(b"".join(lines))

    assert found_at(decided) == position


def test_a_deleted_line_is_found(decided):
    lines = lines_of(decided)
    decided.home.ledger.write_bytes(b"".join(lines[:1] + lines[2:]))

    assert found_at(decided) == 2


def test_an_inserted_line_is_found(decided):
    lines = lines_of(decided)
    decided.home.ledger.write_bytes(b"".join([*lines[:2], lines[0], *lines[2:]]))

    assert found_at(decided) == 3


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_a_cut_tail_is_found_by_the_registry(decided, kept):
    decided.home.ledger.write_bytes(b"".join(lines_of(decided)[:kept]))

    assert found_at(decided) == kept + 1


def test_a_deleted_file_is_found(decided):
    decided.home.ledger.unlink()

    assert found_at(decided) == 1


def test_a_rewritten_history_with_right_hashes_is_found(decided):
    entries: list[chain.Entry] = []
    for old in ledger.read(decided.home).entries:
        body = dict(old.body) | ({"actor": "mallory"} if old.body["type"] == "decision" else {})
        if body["type"] == "applied":
            body["decision"] = entries[-1].hash
        entries.append(next_entry(entries, body))
    chain.verify(entries)
    decided.home.ledger.write_text("".join(entry.line() + "\n" for entry in entries))

    assert found_at(decided) == 4


@pytest.mark.parametrize("change", [b"\xff\n", b"\n", b"{}\n"])
def test_an_appended_line_that_is_not_an_entry_is_found(decided, change):
    decided.home.ledger.write_bytes(b"".join(lines_of(decided)) + change)

    assert found_at(decided) == 5


def set_head(world, value: str, model_name: str = "movies") -> None:
    experiment = world.client.get_experiment_by_name(EXPERIMENT)
    world.client.set_experiment_tag(experiment.experiment_id, head_tag(model_name), value)


@pytest.mark.parametrize(
    ("value", "position"),
    [("nonsense", 0), ("", 0), ("4:abc movies", 4), ("5 movies", 5), (f"4:{HASH} films", 4)],
)
def test_a_tag_that_is_not_a_head_is_found(decided, value, position):
    set_head(decided, value)

    assert found_at(decided) == position


def test_heads_of_two_models_do_not_touch_each_other(decided, evaluated):
    kept = heads(decided.client)

    set_head(decided, f"9:{HASH} Ältere Filme | 100 %", "Ältere Filme | 100 %")

    assert heads(decided.client) == kept | {"Ältere Filme | 100 %": f"9:{HASH}"}
    assert heads(decided.client, "movies") == kept
    assert heads(decided.client, "Ältere Filme | 100 %") == {"Ältere Filme | 100 %": f"9:{HASH}"}
    assert heads(decided.client, "none") == {}


@pytest.mark.parametrize("kept", [0, 3])
def test_heads_survive_the_deletion_of_their_experiment(decided, kept):
    decided.client.delete_experiment(decided.client.get_experiment_by_name(EXPERIMENT).experiment_id)
    whole = decided.home.ledger.read_bytes()
    decided.home.ledger.write_bytes(b"".join(lines_of(decided)[:kept]))
    assert found_at(decided) == kept + 1

    decided.home.ledger.write_bytes(whole)
    promotion.record(decided.home, decided.client, decision(3, 2))

    last = ledger.read_verified(decided.home, decided.client).entries[-1]
    assert heads(decided.client) == {"movies": f"6:{last.hash}"}
    assert decided.client.get_experiment_by_name(EXPERIMENT).lifecycle_stage == "active"


def test_heads_stored_with_registered_models_by_earlier_releases_count_until_the_next_decision(decided):
    entries = ledger.read(decided.home).entries
    decided.client.delete_experiment_tag(
        decided.client.get_experiment_by_name(EXPERIMENT).experiment_id, head_tag("movies")
    )
    decided.client.set_registered_model_tag("movies", "fedrec.ledger.head", f"4:{entries[3].hash}")
    assert heads(decided.client) == heads(decided.client, "movies") == {"movies": f"4:{entries[3].hash}"}
    whole = decided.home.ledger.read_bytes()
    decided.home.ledger.write_bytes(b"".join(lines_of(decided)[:2]))
    assert found_at(decided) == 3

    decided.home.ledger.write_bytes(whole)
    promotion.record(decided.home, decided.client, decision(3, 2))

    last = ledger.read(decided.home).entries[-1]
    assert heads(decided.client) == heads(decided.client, "movies") == {"movies": f"6:{last.hash}"}


def test_a_line_torn_by_a_crash_is_set_aside_and_no_entry_is_lost(decided):
    whole = decided.home.ledger.read_bytes()
    torn = b'{"body":{"type":"decision","mod'
    decided.home.ledger.write_bytes(whole + torn)

    assert ledger.read_verified(decided.home, decided.client).torn == torn
    promotion.record(decided.home, decided.client, decision(3, 2))
    found = ledger.read_verified(decided.home, decided.client)
    assert decided.home.ledger.read_bytes().startswith(whole)
    assert (len(found.entries), found.torn) == (6, b"")
    assert decided.home.ledger.with_name("torn.log").read_bytes() == torn + b"\n"


def test_a_crash_between_decision_and_alias_is_completed(decided):
    ledger.append(decided.home, decided.client, decision(3, 2).body())
    assert decided.aliases()["champion"] == 2

    standing = promotion.settle(decided.home, decided.client, "movies")

    assert versions(standing) == [1, 2, 3]
    assert standing.repaired == ("completed the interrupted promotion of version 3",)
    assert decided.aliases() == {"champion": 3, "previous": 2}
    assert ledger.read_verified(decided.home, decided.client).entries[-1].body["type"] == "applied"
    assert promotion.settle(decided.home, decided.client, "movies").repaired == ()


def test_a_crash_between_alias_and_applied_entry_is_completed(decided):
    ledger.append(decided.home, decided.client, decision(1, 2, kind="rollback").body())
    decided.client.set_registered_model_alias("movies", "champion", "1")

    standing = promotion.settle(decided.home, decided.client, "movies")

    assert versions(standing) == [1]
    assert decided.aliases() == {"champion": 1}
    assert len(ledger.read_verified(decided.home, decided.client).entries) == 6


def test_a_crash_before_the_registry_is_updated_is_completed(decided):
    head = heads(decided.client)["movies"]
    promotion.record(decided.home, decided.client, decision(3, 2, passed=False))
    set_head(decided, f"{head} movies")

    promotion.settle(decided.home, decided.client, "movies")

    last = ledger.read(decided.home).entries[-1]
    assert heads(decided.client)["movies"] == f"5:{last.hash}"


def test_an_alias_moved_by_another_tool_is_restored(decided):
    decided.client.set_registered_model_alias("movies", "champion", "3")

    standing = promotion.settle(decided.home, decided.client, "movies")

    assert standing.champion == 2
    assert standing.repaired == ("restored: alias 'champion' names version 3, but the ledger says 2",)
    assert decided.aliases() == {"champion": 2, "previous": 1}


def test_without_any_champion_aliases_are_left_alone(world, evaluated):
    world.register(1, evaluated(0.3))
    world.client.set_registered_model_alias("movies", "champion", "1")

    standing = promotion.settle(world.home, world.client, "movies")

    assert (standing.champion, standing.before, standing.repaired) == (None, None, ())
    assert world.aliases() == {"champion": 1}


def test_an_edited_ledger_moves_no_alias(decided):
    ledger.append(decided.home, decided.client, decision(3, 2).body())
    decided.home.ledger.write_bytes(b"".join(lines_of(decided)[1:]))

    with pytest.raises(LedgerTampered):
        promotion.settle(decided.home, decided.client, "movies")
    assert decided.aliases() == {"champion": 2, "previous": 1}


def test_the_standing_includes_a_pending_rollback(decided):
    entries = ledger.read(decided.home).entries
    assert promotion.standing_of(decided.client, entries, "movies").before == 1

    ledger.append(decided.home, decided.client, decision(1, 2, kind="rollback").body())
    entries = ledger.read(decided.home).entries
    assert versions(promotion.standing_of(decided.client, entries, "movies")) == [1]


def test_a_rollback_without_a_previous_champion_is_refused():
    with pytest.raises(NotFound, match="version 5 is its first champion"):
        promotion.require_target("movies", Standing((Champion(5, "job-a", 5),), 5))
    with pytest.raises(NotFound, match="has no champion"):
        promotion.require_target("movies", Standing())


def test_only_one_command_decides_at_a_time(world):
    outcome: list[BaseException | None] = []

    def second() -> None:
        try:
            with ledger.locked(world.home, timeout_s=0.05):
                outcome.append(None)
        except JobBusy as error:
            outcome.append(error)

    with ledger.locked(world.home):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    second()

    assert isinstance(outcome[0], JobBusy)
    assert outcome[1] is None


def test_the_decision_about_a_version_is_the_newest_accepted_one(decided):
    entry = promotion.record(decided.home, decided.client, decision(1, 2))
    promotion.record(decided.home, decided.client, decision(1, 1, passed=False))

    entries = ledger.read(decided.home).entries
    assert decision_of(entries, "movies", Champion(1, "job-a", 1)) == entry
    assert decision_of(entries, "movies", Champion(3, "job-a", 3)) is None
    # Another version with the same number, after the model was deleted and made again.
    assert decision_of(entries, "movies", Champion(1, "job-b", 1)) is None


def test_a_version_that_fails_its_check_is_evidence_too(world, evaluated):
    version = world.register(4, evaluated(0.3))
    (world.folders[version] / "model.safetensors").write_bytes(b"")

    evidence, trial = promotion.gather(world.client, "movies", version)

    assert "SHA-256" in (trial.error or "")
    assert (evidence.round, evidence.evaluation) == (4, None)
    assert evidence.model_sha256 == registry.tags_of(world.client, "movies", version)["fedrec.sha256"]


def test_a_fault_about_one_model_hides_none_about_another(decided):
    entries = ledger.read(decided.home).entries
    heads = {"books": "9:" + HASH, "films": "x", "movies": f"4:{entries[3].hash}"}
    with pytest.raises(LedgerTampered) as caught:
        ledger.verify(entries, heads)
    assert "entry 9" in caught.value.what
    assert "'books'" in caught.value.what
    assert "'films'" in caught.value.what
    assert "'movies'" not in caught.value.what
    assert caught.value.position == 0
