"""The kinds of expectation that the contracts use: Great Expectations' own, made cheaper to evaluate.

Importing this module imports great_expectations (7 s); `data_contracts.validation` does so when it must.

Great Expectations rebuilds `Expectation.configuration` through pydantic about 90 times for each expectation
that it evaluates, a third of a validation's time. These subclasses build it once per instance, and again
after a field was set. A subclass of an own name is the documented way to extend; the originals are untouched.
"""

from __future__ import annotations

from typing import Any

from great_expectations import expectations as gxe
from great_expectations.compatibility import pydantic


def _built_once(base: type) -> property:
    build = base.configuration.fget  # type: ignore[attr-defined]

    def configuration(self: Any) -> Any:
        if self._built is None:
            object.__setattr__(self, "_built", build(self))
        return self._built

    return property(configuration)


class _Forgetful:
    """Setting a field forgets the configuration that was built from the old value."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        object.__setattr__(self, "_built", None)


class ExpectRowCountBetween(_Forgetful, gxe.ExpectTableRowCountToBeBetween):  # type: ignore[misc]
    """The number of rows lies within limits."""

    _built: Any = pydantic.PrivateAttr(default=None)
    configuration = _built_once(gxe.ExpectTableRowCountToBeBetween)


class ExpectValuesPresent(_Forgetful, gxe.ExpectColumnValuesToNotBeNull):  # type: ignore[misc]
    """No value of a column is missing."""

    _built: Any = pydantic.PrivateAttr(default=None)
    configuration = _built_once(gxe.ExpectColumnValuesToNotBeNull)


class ExpectValuesAbsent(_Forgetful, gxe.ExpectColumnValuesToBeNull):  # type: ignore[misc]
    """No row has a value in a column."""

    _built: Any = pydantic.PrivateAttr(default=None)
    configuration = _built_once(gxe.ExpectColumnValuesToBeNull)


class ExpectValuesInSet(_Forgetful, gxe.ExpectColumnValuesToBeInSet):  # type: ignore[misc]
    """Each value of a column is one of a few."""

    _built: Any = pydantic.PrivateAttr(default=None)
    configuration = _built_once(gxe.ExpectColumnValuesToBeInSet)


class ExpectValuesBetween(_Forgetful, gxe.ExpectColumnValuesToBeBetween):  # type: ignore[misc]
    """Each value of a column lies within limits."""

    _built: Any = pydantic.PrivateAttr(default=None)
    configuration = _built_once(gxe.ExpectColumnValuesToBeBetween)


class ExpectValuesUnique(_Forgetful, gxe.ExpectColumnValuesToBeUnique):  # type: ignore[misc]
    """No value of a column occurs twice."""

    _built: Any = pydantic.PrivateAttr(default=None)
    configuration = _built_once(gxe.ExpectColumnValuesToBeUnique)


class ExpectColumnsUniqueTogether(_Forgetful, gxe.ExpectCompoundColumnsToBeUnique):  # type: ignore[misc]
    """No combination of several columns' values occurs twice."""

    _built: Any = pydantic.PrivateAttr(default=None)
    configuration = _built_once(gxe.ExpectCompoundColumnsToBeUnique)


class ExpectMeanBetween(_Forgetful, gxe.ExpectColumnMeanToBeBetween):  # type: ignore[misc]
    """The mean of a column lies within limits."""

    _built: Any = pydantic.PrivateAttr(default=None)
    configuration = _built_once(gxe.ExpectColumnMeanToBeBetween)


class ExpectMaxBetween(_Forgetful, gxe.ExpectColumnMaxToBeBetween):  # type: ignore[misc]
    """The largest value of a column lies within limits."""

    _built: Any = pydantic.PrivateAttr(default=None)
    configuration = _built_once(gxe.ExpectColumnMaxToBeBetween)
