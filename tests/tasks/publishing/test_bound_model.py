"""A service is bound to one model, and says so where it cannot tell which."""

from __future__ import annotations

import threading

import pytest
from click.testing import CliRunner

from flows.cli import cli
from models.errors import InvalidInput, NotFound
from tasks.bundles.pointer import Pointer, write_pointer
from tasks.local.home import Home
from tasks.publishing.bound_model import bound_model
from tasks.publishing.follow_registry import follow_registry
from tests.worlds.served import put_bundle


def test_the_only_model_need_not_be_named(world):
    assert bound_model(world.home, None) == "movies"


def test_a_named_model_may_come_later(tmp_path):
    assert bound_model(Home(tmp_path), "later") == "later"
    with pytest.raises(InvalidInput, match="empty"):
        bound_model(Home(tmp_path), " ")


def test_of_several_models_one_must_be_named(world):
    world.beside("books")
    with pytest.raises(InvalidInput, match=r"2 models are registered: books, movies\..*--model") as caught:
        bound_model(world.home, None)
    assert caught.value.exit_code == 2


def test_what_another_process_publishes_here_counts_first(world):
    world.beside("books")
    write_pointer(world.home.serving / "movies", Pointer(put_bundle(world.home.serving / "movies")))

    assert bound_model(world.home, None, published=True) == "movies"


def test_without_any_model_the_next_step_is_named(mlflow_home):
    for state in ("an empty registry", "no registry"):
        with pytest.raises(NotFound, match=r"Nothing is registered yet.*--model NAME"):
            bound_model(mlflow_home, None)
        if state == "an empty registry":
            (mlflow_home.mlflow / "mlflow.db").unlink()


@pytest.mark.parametrize(
    "command", [["serve"], ["silo", "serve", "--silo", "ash"], ["publish"]], ids=" ".join
)
def test_a_command_ends_where_it_cannot_tell_the_model(world, command):
    world.beside("books")

    result = CliRunner().invoke(cli, command, standalone_mode=False)

    assert isinstance(result.exception, InvalidInput)
    assert "books, movies" in str(result.exception)


def test_a_publisher_ends_where_it_cannot_tell_the_model(world):
    world.beside("books")

    with pytest.raises(InvalidInput, match="books, movies"):
        follow_registry(world.home, None, 0.1, threading.Event(), print)
