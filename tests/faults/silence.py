"""Members of secure sums that fail at one of their stages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from tasks.clients.sum_member import SumMember


@dataclass
class Silence:
    """Makes members fail.

    Attributes:
        sum_id: the sum in which they do.
        of: member -> what it fails to do: a method of `SumMember`.
    """

    sum_id: str
    of: dict[str, str] = field(default_factory=dict)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("prepare", "mask", "agree", "reveal"):
            monkeypatch.setattr(SumMember, name, self._failing(name, getattr(SumMember, name)))

    def _failing(self, name: str, original: Any) -> Any:
        def method(member: SumMember, *arguments: Any) -> Any:
            if self.of.get(member.name) == name and self.sum_id in member.sums:
                raise PermissionError(f"{member.name} is away")
            return original(member, *arguments)

        return method
