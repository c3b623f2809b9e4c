"""An earlier revision of fedrec, checked out beside this one and run in the same Python environment."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from models.errors import InvalidInput, NotFound
from tasks.bench.overhead.train_command import Checkout

_WHERE = "import flows, os; print(os.path.realpath(os.path.dirname(os.path.dirname(flows.__file__))))"


def commit_of(repository: Path, revision: str) -> str:
    """Return the commit that `revision` names in the repository around this folder.

    Raises:
        NotFound: git is not installed.
        InvalidInput: the folder is not in a git repository, or that has no such revision.
    """
    if _git(repository, "rev-parse", "--git-dir").returncode:
        raise InvalidInput(
            f"{repository} is not in a git repository, so --against has nothing to compare with.",
            next_step="Run the benchmark in a clone of the project.",
            path=repository,
        )
    found = _git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if found.returncode:
        raise InvalidInput(
            f"The git repository of {repository} has no revision {revision!r}.",
            next_step="Name a commit, tag or branch that git log shows. In a shallow clone, run: git fetch "
            "--unshallow --tags",
        )
    return found.stdout.decode().split()[-1]


@contextlib.contextmanager
def checked_out(repository: Path, commit: str, scratch: Path) -> Iterator[Checkout]:
    """Yield a checkout of the commit below `scratch`, which is removed afterwards. git itself is not changed.

    It runs with the packages that are installed beside this revision.

    Raises:
        InvalidInput: the commit has no fedrec, or Python would run other code than the commit's.
    """
    top = _git(repository, "rev-parse", "--show-toplevel").stdout.decode().strip()
    archive = _git(Path(top), "archive", "--format=tar", commit)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="revision-") as name:
        root = Path(name).resolve()
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(root, filter="data")
        checkout = Checkout(root, commit[:8])
        found = subprocess.run(  # noqa: S603
            [sys.executable, "-c", _WHERE],
            cwd=root,
            env=checkout.environ(root),
            capture_output=True,
            text=True,
            check=False,
        )
        if not (root / "flows" / "__main__.py").is_file() or found.stdout.strip() != str(root):
            raise InvalidInput(
                f"Revision {commit[:8]} cannot be run: it has no fedrec, or Python finds another one.",
                next_step="Name a later revision.",
            )
        yield checkout


def same_lock(own: Path, other: Path) -> bool:
    """Return whether two checkouts lock the same dependencies."""
    locks = [folder / "requirements.lock" for folder in (own, other)]
    return all(lock.is_file() for lock in locks) and locks[0].read_bytes() == locks[1].read_bytes()


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, capture_output=True, check=False)  # noqa: S603
    except FileNotFoundError as error:
        raise NotFound(
            "git is not installed, and --against needs it.", next_step="Install git, or leave out --against."
        ) from error
