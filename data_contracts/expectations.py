"""The expectation classes of the contracts: those of Great Expectations, made cheaper to evaluate.

Importing this module imports great_expectations (7 s). `data_contracts.validation` imports it on first use.

Great Expectations rebuilds `Expectation.configuration` through pydantic about 90 times for each expectation
that it evaluates, which is a third of a validation's time. These subclasses build it once per instance, and
again after a field has changed. Subclasses with names of their own are the documented way to extend Great
Expectations; the original classes are unchanged.
"""

from __future__ import annotations

from typing import Any

from great_expectations import expectations as gxe
from great_expectations.compatibility import pydantic


class _DropsConfiguration:
    """Drop the stored configuration when a field is set, because it was built from the old value."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        object.__setattr__(self, "_built", None)


def _built_once(base: type) -> property:
    build = base.configuration.fget  # type: ignore[attr-defined]

    def configuration(self: Any) -> Any:
        if self._built is None:
            object.__setattr__(self, "_built", build(self))
        return self._built

    return property(configuration)


def _cheaper(name: str, base: type) -> type:
    """Return the subclass of `base` that builds its configuration once. Its creation registers it."""
    members = {
        "__module__": __name__,
        "_built": pydantic.PrivateAttr(default=None),
        "configuration": _built_once(base),
    }
    return type(base)(name, (_DropsConfiguration, base), members)


# The kinds that a `Rule` may name.
EXPECTATIONS = {
    name: _cheaper(name, base)
    for name, base in {
        "ExpectRowCountBetween": gxe.ExpectTableRowCountToBeBetween,
        "ExpectValuesInSet": gxe.ExpectColumnValuesToBeInSet,
        "ExpectValuesBetween": gxe.ExpectColumnValuesToBeBetween,
        "ExpectValuesUnique": gxe.ExpectColumnValuesToBeUnique,
        "ExpectMeanBetween": gxe.ExpectColumnMeanToBeBetween,
        "ExpectMaxBetween": gxe.ExpectColumnMaxToBeBetween,
    }.items()
}
