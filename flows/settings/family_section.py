"""The section of settings that chooses a registered family and contains its spec."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, reduce
from operator import or_
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from flows.settings.settings_file import Chosen
from models.errors import InvalidConfig
from models.recommenders.base.family import FamilySpec
from models.recommenders.families.registry import families
from models.recommenders.lightfm.spec import LightFMSpec

_DEFAULT = LightFMSpec.family


class FamilySection(Chosen):
    """Marks a field whose value is a family's spec.

    The families are looked up when a value is validated or a schema is created, so a family may be registered
    later. Without `family`, a section is for LightFM.
    """

    def kind_of(self, raw: Mapping[Any, Any]) -> type | None:
        """Return the type of the spec of the section's family; None if there is no such family."""
        wanted = raw.get("family", _DEFAULT)
        return next((kind for name, kind in _spec_types().items() if name == wanted), None)

    def kinds(self) -> tuple[type, ...]:
        """Return the types of all specs."""
        return tuple(_spec_types().values())

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return a schema that validates a spec, or the settings of one."""
        return core_schema.no_info_plain_validator_function(self._validated)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Return the schema of a form: any of the currently registered specs."""
        return handler(TypeAdapter(reduce(or_, self.kinds())).core_schema)

    def _validated(self, value: Any) -> FamilySpec:
        """Return the spec.

        Raises:
            InvalidConfig: the value is not a section, or names no family. Its key is relative to the section.
        """
        if isinstance(value, Mapping):
            kind = self.kind_of(value)
            if kind is None:
                names = ", ".join(_spec_types())
                raise InvalidConfig(
                    f"there is no family {value['family']!r}.",
                    next_step=f"Choose one of {names}.",
                    key="family",
                )
        elif type(value) in self.kinds():
            kind = type(value)
        else:
            raise InvalidConfig(
                f"expected keys and values, got {value!r}.",
                next_step="Write one setting on each line below the section's name.",
            )
        spec: FamilySpec = _adapter(kind).validate_python(value)
        return spec


def _spec_types() -> dict[str, type]:
    return {family.name(): family.spec_type for family in families()}


# Building an adapter takes longer than validating with it. The bound is for notebooks that redefine a family.
@lru_cache(maxsize=64)
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
