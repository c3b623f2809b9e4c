"""Whatever MLflow's UI deletes, every command works on or says in one sentence what to do."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from click.testing import CliRunner

from flows.cli import cli
from models.errors import FedrecError, NotFound
from tasks.bundles.pointer import read_pointer
from tasks.bundles.serving_folder import serving_folder
from tasks.promotion import ledger
from tasks.promotion import promote as shell
from tasks.publishing.publish import Publisher, publish
from tests.worlds.decisions import decision
from tests.worlds.registered import World


@pytest.fixture(scope="module", autouse=True)
def prefect_server() -> Iterator[None]:
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture
def lived(world, evaluated) -> World:
    """Return a model whose champions were 1, 2 and 3, with candidate 4 and challenger 5, and published."""
    for round_ in range(1, 6):
        world.register(round_, evaluated(0.3))
    for version in (1, 2, 3):
        shell.record(world.home, world.client, decision(version))
    publish(world.home, world.client, "movies")
    world.client.set_registered_model_alias("movies", "challenger", "5")
    return world


def fedrec(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the object on stdout; raise what the command raises."""
    result = CliRunner().invoke(cli, [*arguments, "--model", "movies", "--json"], standalone_mode=False)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, json.loads(result.stdout)


def audited() -> list[dict[str, Any]]:
    """Return what an audit says is gone, after it found the ledger intact."""
    result = CliRunner().invoke(cli, ["audit", "--verify", "--json"], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return list(json.loads(result.stdout)["gone"])


def deleted(*versions: int) -> Callable[[World], None]:
    def delete(world: World) -> None:
        for version in versions:
            world.client.delete_model_version("movies", str(version))

    return delete


def without_artefacts(version: int) -> Callable[[World], None]:
    return lambda world: shutil.rmtree(world.folders[version])


def without_run(world: World) -> None:
    """Delete the run as MLflow's UI does: it can be restored."""
    world.client.delete_run(world.run_id)


def without_anything_of_the_run(world: World) -> None:
    """Delete the run for good, as `mlflow gc` does later."""
    from mlflow import set_tracking_uri
    from mlflow.cli import gc

    without_run(world)
    uri = world.client.tracking_uri
    done = CliRunner().invoke(gc, ["--backend-store-uri", uri])
    assert done.exit_code == 0, done.output
    # The command sets its URI for all later clients of its process, also those of other tests.
    set_tracking_uri(None)
    os.environ["MLFLOW_TRACKING_URI"] = uri
    assert not world.folders[3].exists()


@dataclass(frozen=True)
class Loss:
    """What is lost, and what holds afterwards.

    Attributes:
        lose: loses it.
        gone: the versions that the audit reports.
        promoted: aliases after a promotion of version 4; None if its gates refuse it.
        compared: the version with which it was compared, in words.
        rolled_back: aliases after a rollback instead; None if it is refused; a sentence if it is an error.
        published: the version that is published, or a sentence of the error.
    """

    lose: Callable[[World], None]
    gone: list[int]
    promoted: dict[str, int] | None
    compared: str
    rolled_back: dict[str, int] | str | None
    published: int | str


BY_3, BY_2 = "of version 3", "of version 2 (no longer there to compare with: 3)"
LEFT = "no earlier champion is left; no longer there: "
LOSSES = {
    "the champion": Loss(
        deleted(3),
        gone=[3],
        promoted={"champion": 4, "previous": 2, "challenger": 5},
        compared=BY_2,
        rolled_back={"champion": 2, "previous": 1, "challenger": 5},
        published="version 3, was deleted from the registry",
    ),
    "the one before": Loss(
        deleted(2),
        gone=[2],
        promoted={"champion": 4, "previous": 3, "challenger": 5},
        compared=BY_3,
        rolled_back={"champion": 1, "challenger": 5},
        published=3,
    ),
    "all earlier ones": Loss(
        deleted(1, 2),
        gone=[2, 1],
        promoted={"champion": 4, "previous": 3, "challenger": 5},
        compared=BY_3,
        rolled_back=f"{LEFT}2, 1",
        published=3,
    ),
    "the champion and the one before": Loss(
        deleted(3, 2),
        gone=[3, 2],
        promoted={"champion": 4, "previous": 1, "challenger": 5},
        compared="of version 1 (no longer there to compare with: 3, 2)",
        rolled_back={"champion": 1, "challenger": 5},
        published="version 3, was deleted from the registry",
    ),
    "all champions": Loss(
        deleted(1, 2, 3),
        gone=[3, 2, 1],
        promoted={"champion": 4, "challenger": 5},
        compared="there is no champion to compare with (no longer there to compare with: 3, 2, 1)",
        rolled_back=f"{LEFT}3, 2, 1",
        published="version 3, was deleted from the registry",
    ),
    "the challenger": Loss(
        deleted(5),
        gone=[],
        promoted={"champion": 4, "previous": 3},
        compared=BY_3,
        rolled_back={"champion": 2, "previous": 1},
        published=3,
    ),
    "the champion's artefacts": Loss(
        without_artefacts(3),
        gone=[],
        promoted={"champion": 4, "previous": 3, "challenger": 5},
        compared=BY_2,
        rolled_back={"champion": 2, "previous": 1, "challenger": 5},
        published="missing",
    ),
    "the artefacts of the one before": Loss(
        without_artefacts(2),
        gone=[],
        promoted={"champion": 4, "previous": 3, "challenger": 5},
        compared=BY_3,
        rolled_back={"champion": 1, "challenger": 5},
        published=3,
    ),
    "the challenger's artefacts": Loss(
        without_artefacts(5),
        gone=[],
        promoted={"champion": 4, "previous": 3, "challenger": 5},
        compared=BY_3,
        rolled_back={"champion": 2, "previous": 1, "challenger": 5},
        published=3,
    ),
    "the run, which can be restored": Loss(
        without_run,
        gone=[],
        promoted={"champion": 4, "previous": 3, "challenger": 5},
        compared=BY_3,
        rolled_back={"champion": 2, "previous": 1, "challenger": 5},
        published=3,
    ),
    "the run, for good": Loss(
        without_anything_of_the_run,
        gone=[],
        promoted=None,
        compared="there is no champion to compare with",
        rolled_back=None,
        published="missing",
    ),
}


@pytest.fixture(params=LOSSES.values(), ids=LOSSES.keys())
def loss(request: pytest.FixtureRequest, lived: World) -> Loss:
    found: Loss = request.param
    found.lose(lived)
    return found


def test_a_promotion_works_after_any_loss(loss, lived):
    assert [each["versions"] for each in audited()] == ([loss.gone] if loss.gone else [])

    exit_code, outcome = fedrec("promote", "--version", "4")

    if loss.promoted is None:
        assert exit_code == 4
        assert "missing" in outcome["verdicts"][1]["observed"]
    else:
        assert exit_code == 0
        assert lived.aliases() == loss.promoted
        assert outcome["gone"] == loss.gone
        assert loss.compared in outcome["verdicts"][2]["observed"]
        assert audited() == []
    # The ledger keeps the decisions about what is gone.
    assert [entry.body["candidate"] for entry in ledger.read(lived.home).entries[:6:2]] == [1, 2, 3]


def test_a_rollback_returns_to_the_newest_champion_that_is_left(loss, lived):
    if isinstance(loss.rolled_back, str):
        with pytest.raises(NotFound, match=loss.rolled_back):
            fedrec("rollback")
        return
    exit_code, outcome = fedrec("rollback")

    if loss.rolled_back is None:
        assert exit_code == 4
        assert [one["gate"] for one in outcome["verdicts"] if not one["passed"]] == ["artefact"]
        return
    assert (exit_code, lived.aliases()) == (0, loss.rolled_back)
    assert outcome["version"] == loss.rolled_back["champion"]
    assert audited() == []


def test_a_publisher_says_what_is_lost_and_the_bundle_stays(loss, lived):
    before = read_pointer(serving_folder(lived.home, "movies"))
    publisher = Publisher(lived.home, lived.client, "movies")

    if isinstance(loss.published, str):
        with pytest.raises(NotFound, match=loss.published):
            publisher.publish()
        assert read_pointer(serving_folder(lived.home, "movies")) == before
    else:
        pointer = publisher.publish()
        assert pointer.champion == before.champion
        has_challenger = "challenger" in (loss.promoted or {}) and lived.folders[5].exists()
        assert (pointer.challenger is not None) == has_challenger
        # A challenger that cannot be published does not keep the champion from being published.
        assert ("missing" in str(publisher.refused)) == (not lived.folders[5].exists())


def test_a_lost_model_is_named_by_every_command_and_starts_again(lived, evaluated):
    lived.client.delete_registered_model("movies")

    for command in ("promote", "rollback"):
        with pytest.raises(NotFound, match="registered"):
            fedrec(command)
    for arguments in ((), ("3",)):
        _, shown = fedrec("audit", *arguments)
        assert (shown["champion"], shown["gone"]) == (None, [3, 2, 1])
        assert len(shown["decisions"]) == (1 if arguments == ("3",) else 3)
    alone = CliRunner().invoke(cli, ["audit", "--json"], standalone_mode=False)
    assert json.loads(alone.stdout)["model_name"] == "movies"
    other = CliRunner().invoke(cli, ["audit", "--model", "books"], standalone_mode=False)
    assert "The ledger has decisions about: movies" in str(other.exception)
    with pytest.raises(NotFound, match="version 3, was deleted"):
        publish(lived.home, lived.client, "movies")
    (lost,) = audited()
    assert (lost["versions"], lost["was"]) == ([3, 2, 1], 3)
    assert "no longer registered" in lost["next_step"]

    # The same name again, whose versions are numbered from 1: none of them is the old champion 1.
    from tasks.tracking import registry

    registry.ensure_registered_model(lived.client, "movies")
    lived.job_id, lived.artifacts = "job-b", lived.artifacts / "again"
    (lived.artifacts / "catalog").mkdir(parents=True)
    shutil.copy(lived.artifacts.parent / "catalog" / "items.parquet", lived.artifacts / "catalog")
    assert [lived.register(round_, evaluated(0.1)) for round_ in (1, 2, 3)] == [1, 2, 3]
    assert audited()[0]["was"] == 3

    _, outcome = fedrec("promote", "--version", "3")

    assert (outcome["promoted"], outcome["previous"], outcome["gone"]) == (True, None, [3, 2, 1])
    assert lived.aliases() == {"champion": 3}
    # The decision about the old version 3 is not that about this one.
    assert (
        publish(lived.home, lived.client, "movies").champion.decision["ledger_entry"]
        == outcome["decision_id"]
    )
    _, shown = fedrec("audit")
    assert (shown["champion"], len(shown["decisions"])) == (3, 4)


def test_a_promotion_by_a_worse_version_is_still_refused_after_the_loss_of_the_champion(lived, evaluated):
    deleted(3)(lived)
    worse = lived.register(6, evaluated(0.2))

    exit_code, outcome = fedrec("promote", "--version", str(worse))

    assert exit_code == 4
    assert "0.2000 against 0.3000 of version 2" in outcome["verdicts"][2]["observed"]
    assert lived.aliases() == {"previous": 2, "challenger": 5}


def test_an_interrupted_promotion_of_a_version_that_is_gone_is_given_up(lived):
    ledger.append(lived.home, lived.client, decision(4, 3).body())
    deleted(4)(lived)
    assert audited() == []

    _, outcome = fedrec("rollback")

    assert outcome["repaired"] == ["gave up the interrupted promotion of version 4, which no longer exists"]
    assert lived.aliases() == {"champion": 2, "previous": 1, "challenger": 5}
    _, shown = fedrec("audit")
    assert shown["decisions"][3]["applied_at"] is None
    assert shown["decisions"][3]["abandoned_at"] is not None
    text = CliRunner().invoke(cli, ["audit"], standalone_mode=False).stdout
    assert "abandoned" in text


def test_a_version_deleted_while_it_is_decided_about_becomes_no_champion(lived):
    deleted(4)(lived)

    with pytest.raises(NotFound, match="was deleted while it was decided about"):
        shell.record(lived.home, lived.client, decision(4, 3))
    assert lived.aliases() == {"champion": 3, "previous": 2, "challenger": 5}
    assert shell.settle(lived.home, lived.client, "movies").repaired == ()


def test_the_audit_tells_what_was_deleted_from_what_was_changed(lived):
    deleted(3)(lived)
    result = CliRunner().invoke(cli, ["audit", "--verify"], standalone_mode=False)
    assert "Gone from the registry: version 3 of movies, of which 3 was the champion." in result.stdout
    assert "fedrec rollback --model movies to return to version 2" in result.stdout
    shown = CliRunner().invoke(cli, ["audit"], standalone_mode=False).stdout
    assert "Champion of movies: none; no longer in the registry: version 3." in shown

    lived.client.set_registered_model_alias("movies", "champion", "1")
    changed = CliRunner().invoke(cli, ["audit", "--verify"], standalone_mode=False).exception
    assert isinstance(changed, FedrecError)
    assert "alias 'champion' names version 1, but the ledger says none" in str(changed)


def test_an_alias_that_was_only_removed_is_a_fault_and_is_restored(lived):
    lived.client.delete_registered_model_alias("movies", "champion")

    with pytest.raises(NotFound, match="was removed; the ledger says version 3"):
        publish(lived.home, lived.client, "movies")
    with pytest.raises(FedrecError, match="names version none, but the ledger says 3"):
        audited()
    assert fedrec("rollback")[1]["repaired"] == [
        "restored: alias 'champion' names version none, but the ledger says 3"
    ]
