"""A group of commands that imports each command only when it is called."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, not when the group is imported.

    Args:
        lazy: name -> (module with the command as `command`, one line of help). The module is named from
            `flows.commands` on. The help is given here so that the group's own help imports no command.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy
        # Click suggests a name from these for one that is mistyped. `get_command` answers with the others.
        self.commands = {name: click.Command(name) for name in lazy}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._lazy:
            return None
        module, _ = self._lazy[cmd_name]
        command: click.Command = importlib.import_module(f"flows.commands.{module}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._lazy.items()])


def lazy_group(name: str, text: str, **commands: str) -> LazyGroup:
    """Return the group of the commands of one folder.

    Args:
        name: of the group and of its folder in `flows.commands`.
        text: help of the group.
        commands: module -> one line of help. A command is named as its module, with hyphens.
    """
    lazy = {module.replace("_", "-"): (f"{name}.{module}", line) for module, line in commands.items()}
    return LazyGroup(name, help=text, lazy=lazy)
