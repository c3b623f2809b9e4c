"""`fedrec audit --ledger`: a copy of the decision ledger is checked and read without a registry."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from flows.cli import cli
from models.errors import InvalidInput, LedgerTampered, NotFound
from tasks.promotion import promote as promotion
from tests.worlds.decisions import decision


@pytest.fixture
def copy(world, evaluated, tmp_path, monkeypatch):
    """Return a copy of a ledger with two promotions of `movies`, in a place without home or registry."""
    for round_ in (1, 2):
        world.register(round_, evaluated(0.3))
    promotion.record(world.home, world.client, decision(1))
    promotion.record(world.home, world.client, decision(2, 1))
    path = tmp_path / "export.jsonl"
    path.write_bytes(world.home.ledger.read_bytes())
    monkeypatch.setenv("FEDREC_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return path


def audited(*arguments: object):
    result = CliRunner().invoke(cli, ["audit", *map(str, arguments), "--json"], standalone_mode=False)
    if result.exception:
        raise result.exception
    return json.loads(result.stdout)


def test_a_whole_copy_is_intact_and_has_the_head_of_its_last_line(copy, tmp_path):
    found = audited("--ledger", copy, "--verify")
    last = json.loads(copy.read_text().splitlines()[-1])
    assert found == {"intact": True, "entries": 4, "head": last["hash"], "torn_bytes": 0}
    assert not (tmp_path / "elsewhere").exists()


def test_a_copy_tells_the_decisions_and_the_champion(copy):
    found = audited("--ledger", copy)
    assert (found["model_name"], found["champion"]) == ("movies", 2)
    assert [(each["version"], each["previous"]) for each in found["decisions"]] == [(1, None), (2, 1)]
    assert [each["version"] for each in audited("2", "--ledger", copy)["decisions"]] == [2]


@pytest.mark.parametrize("arguments", [(), ("--verify",), ("2",)])
def test_an_edited_copy_is_refused_with_its_first_wrong_line(copy, arguments):
    lines = copy.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"candidate":2', b'"candidate":3')
    copy.write_bytes(b"".join(lines))
    with pytest.raises(LedgerTampered) as caught:
        audited(*arguments, "--ledger", copy)
    assert caught.value.position == 3


def test_an_incomplete_last_line_is_counted(copy):
    with copy.open("ab") as file:
        file.write(b'{"seq":5')
    assert audited("--ledger", copy, "--verify")["torn_bytes"] == len('{"seq":5')


def test_a_copy_without_decisions_about_the_model_says_so(copy):
    with pytest.raises(NotFound, match="version 3"):
        audited("3", "--ledger", copy)
    with pytest.raises(NotFound, match="no decision about 'books'; it has decisions about: movies"):
        audited("--ledger", copy, "--model", "books")


@pytest.mark.parametrize("arguments", [(), ("--model", "books"), ("3",)])
def test_a_copy_without_any_line_says_so(copy, arguments):
    copy.write_bytes(b"")
    with pytest.raises(InvalidInput, match="has no decision: it has no complete line"):
        audited("--ledger", copy, *arguments)
