"""What a file calls the columns that fedrec needs: as a user says it, or as it seems."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from models.errors import InvalidInput

NAMES = ("user_id", "item_id", "rating", "timestamp", "title", "weight")
OPTION = "--columns"
# Without case, blanks, and what `_stem` takes away. The first that a file has is meant.
_ALSO: Mapping[str, str] = {
    "user_id": "user uid customer client member buyer shopper visitor reviewer account kunde kunden person "
    "profile email mail customeremail",
    "item_id": "item sku product article artikel stock asin parentasin ean gtin isbn upc movie film song "
    "track book game content",
    "timestamp": "timestamp time datetime date orderdate ordertime ordered orderedat createdat created "
    "purchasedat purchasedate invoicedate eventtime transactiondate boughtat datum ts unixtime",
    "rating": "rating score stars overall",
    "title": "title name productname itemname producttitle articlename",
    "weight": "weight",
}
_ENDS = re.compile(r"(?<=...)(?:id|no|nr|nummer|number|code|key|uuid)$")


@dataclass(frozen=True)
class ColumnNames:
    """What files call columns.

    Attributes:
        pairs: (name of fedrec, name in a file). A name of fedrec may have several, one for each file.
    """

    pairs: tuple[tuple[str, str], ...] = ()

    def stored(self, file: object, found: Sequence[str], own: Sequence[str]) -> dict[str, str]:
        """Return the columns of a file: name of fedrec, or else the file's own -> name in the file.

        Args:
            file: for errors.
            found: the names in the file.
            own: the names of fedrec that such a file has.

        Raises:
            InvalidInput: a name of fedrec is two of the columns.
        """
        meant: dict[str, str] = {}
        for name, stored in self.pairs:
            if name in own and stored in found and meant.setdefault(name, stored) != stored:
                raise InvalidInput(
                    f"{OPTION} gives two columns of {file} for {name}: {meant[name]!r} and {stored!r}.",
                    column=stored,
                )
        by_stored = {stored: name for name, stored in meant.items()}
        # A column that has the name already is another one than the user means.
        kept = [each for each in found if each in by_stored or each not in meant]
        return {by_stored.get(each, each): each for each in kept}

    def require_found(self, files: Iterable[tuple[object, Sequence[str], Sequence[str]]]) -> None:
        """Raise `InvalidInput` unless each name is a column of one of the files that can have it.

        Args:
            files: with the names in them, and the names of fedrec that such a file has.
        """
        listed = list(files)
        for name, stored in self.pairs:
            possible = [(file, found) for file, found, own in listed if name in own]
            if not any(stored in found for _, found in possible):
                columns = "; ".join(f"{file} has {', '.join(found)}" for file, found in possible)
                raise InvalidInput(
                    f"{OPTION} says that {name} is the column {stored!r}, which no file has that can hold "
                    f"{name} ({columns or 'none is given'}).",
                    column=stored,
                )


AS_THEY_ARE = ColumnNames()


def guessed(missing: Sequence[str], found: Sequence[str], own: Sequence[str]) -> dict[str, str]:
    """Return what a file seems to call missing columns, and further ones of its own that it lacks.

    Args:
        missing: names of `own` that the file must have, and has not.
        found: the names in the file.
        own: all names of fedrec that such a file may have.
    """
    free = [name for name in found if name not in own]
    stems = {_stem(name): name for name in reversed(free)}
    meant: dict[str, str] = {}
    for name in [*missing, *(each for each in own if each not in missing and each not in found)]:
        stem = next((each for each in _ALSO[name].split() if each in stems), None)
        if stem is not None and stems[stem] not in meant.values():
            meant[name] = stems[stem]
    return meant


def written(names: Mapping[str, str]) -> str:
    """Return names as the option takes them."""
    return ",".join(f"{name}={stored}" for name, stored in names.items())


def parsed(texts: Sequence[str], own: Sequence[str] = NAMES) -> ColumnNames:
    """Return the names in the values of the option.

    Args:
        texts: the values.
        own: the names of fedrec that the files of the command have.

    Raises:
        ValueError: a value is not like "user_id=customer,item_id=sku", or gives another name.
    """
    known = "|".join(NAMES)
    pairs: list[tuple[str, str]] = []
    for text in texts:
        # A name in a file may hold a comma.
        for part in re.split(rf",(?=\s*(?:{known})\s*=)", text):
            name, _, stored = (each.strip() for each in part.partition("="))
            if name not in own or not stored:
                raise ValueError(part.strip())
            pairs.append((name, stored))
    return ColumnNames(tuple(dict.fromkeys(pairs)))


def _stem(name: str) -> str:
    """Return a name in small letters and digits alone, without "id" and the like at its end."""
    plain = re.sub(r"[^a-z0-9]", "", name.casefold())
    return _ENDS.sub("", plain) or plain
