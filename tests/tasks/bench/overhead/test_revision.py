"""An earlier revision is checked out beside the repository, which stays as it is."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from models.errors import InvalidInput, NotFound
from tasks.bench.overhead.bench import OverheadRequest, bench_overhead
from tasks.bench.overhead.revision import checked_out, commit_of, same_lock
from tasks.local.home import Home


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository of two commits: in the first one `fedrec` prints 1, in the second one 2."""
    folder = tmp_path / "repository"
    (folder / "flows").mkdir(parents=True)
    git(folder, "init", "--quiet")
    (folder / "flows" / "__init__.py").write_text("")
    for number in (1, 2):
        (folder / "flows" / "__main__.py").write_text(f"print({number})")
        (folder / "requirements.lock").write_text(f"prefect=={number}")
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "--message", str(number))
    return folder


def test_the_revision_runs_its_own_code(repository, tmp_path):
    commit = commit_of(repository, "HEAD~1")
    assert commit == git(repository, "rev-parse", "HEAD~1").strip()
    with checked_out(repository, commit, tmp_path) as found:
        assert found.name == commit[:8]
        printed = subprocess.run(
            found.command(),
            cwd=tmp_path,
            env=found.environ(tmp_path),
            capture_output=True,
            text=True,
            check=True,
        )
        assert printed.stdout == "1\n"
        assert not same_lock(repository, found.root)
    assert not found.root.exists()
    assert len(git(repository, "worktree", "list").splitlines()) == 1
    assert git(repository, "status", "--porcelain") == ""


def test_equal_locks_are_recognised(repository, tmp_path):
    with checked_out(repository, commit_of(repository, "HEAD"), tmp_path) as found:
        assert same_lock(repository, found.root)


def test_a_revision_without_fedrec_is_refused(repository, tmp_path):
    git(repository, "rm", "--quiet", "-r", "flows")
    git(repository, "commit", "--quiet", "--message", "empty")
    with (
        pytest.raises(InvalidInput, match="has no fedrec"),
        checked_out(repository, commit_of(repository, "HEAD"), tmp_path),
    ):
        pass


@pytest.mark.parametrize("revision", ["unknown", "--all", "", "HEAD:flows"])
def test_an_unknown_revision_is_refused(repository, revision):
    with pytest.raises(InvalidInput, match="has no revision"):
        commit_of(repository, revision)


def test_outside_a_repository_there_is_nothing_to_compare_with(tmp_path):
    with pytest.raises(InvalidInput, match="not in a git repository"):
        commit_of(tmp_path, "HEAD")


def test_without_git_the_next_step_is_named(repository, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotFound, match="Install git"):
        commit_of(repository, "HEAD")


def test_an_unknown_revision_is_refused_before_anything_is_measured(tmp_path):
    request = OverheadRequest(tmp_path, (), quick=True, flower=False, against="unknown", timeout_s=1.0)
    lines: list[str] = []
    with pytest.raises(InvalidInput, match=r"no revision 'unknown'|not in a git repository"):
        bench_overhead(request, Home(tmp_path / "home"), lines.append)
    assert lines == []
