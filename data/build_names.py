"""Rebuilds names.txt, the "world" corpus, from the first names in the Faker package.

`python data/build_names.py` writes the same bytes every time. README.md, beside it, is the card.
"""

import os
import pkgutil
import re
import sys
import tempfile
import unicodedata
import warnings
from importlib import import_module, metadata
from pathlib import Path

FAKER_VERSION = "40.54.0"  # another release holds other names; requirements-dev.txt pins it too
NAMES_FILE = Path(__file__).with_name("names.txt")
NAME = re.compile(r"[a-z]{2,15}")


def fold(name: str) -> str:
    """Returns `name` in lower case without its accents: "Zoë" gives "zoe".

    Letters that Unicode does not decompose, such as ø, ł or ı, stay as they are.
    """
    decomposed = unicodedata.normalize("NFKD", name)
    return "".join(mark for mark in decomposed if not unicodedata.combining(mark)).lower()


def first_names(provider: object) -> set[str]:
    """Returns every first name of one locale's person provider, as Faker spells it.

    Collects `first_names`, `first_names_female` and their like, whether a list, a tuple, a dict
    with the names as keys, or a property.
    """
    attributes = [name for name in dir(provider) if name.startswith("first_names")]
    return {name for attribute in attributes for name in getattr(provider, attribute)}


def world_names() -> list[str]:
    """Returns the folded first names of all locales that match NAME, sorted, each one once."""
    # Imported late, so that `main` can first ask for the right Faker.
    from faker.generator import Generator
    from faker.providers import person

    folded = set()
    for module in pkgutil.iter_modules(person.__path__):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fr_QC says that it is now an alias of fr_CA
            locale = import_module(f"{person.__name__}.{module.name}")
            provider = locale.Provider(Generator())
        folded.update(fold(name) for name in first_names(provider))
    return sorted(name for name in folded if NAME.fullmatch(name))


def installed_faker() -> str:
    """Returns the version of the installed Faker, or "none"."""
    try:
        return metadata.version("Faker")
    except metadata.PackageNotFoundError:
        return "none"


def main() -> None:
    """Writes NAMES_FILE in one move. Exits with a message where Faker is not the pinned one."""
    if installed_faker() != FAKER_VERSION:
        sys.exit(
            f"names.txt is built from Faker {FAKER_VERSION}, and the installed version is "
            f"{installed_faker()}: run pip install Faker=={FAKER_VERSION}"
        )
    text = "".join(f"{name}\n" for name in world_names())
    with tempfile.TemporaryDirectory(dir=NAMES_FILE.parent) as folder:
        unfinished = Path(folder) / NAMES_FILE.name
        unfinished.write_bytes(text.encode())
        os.replace(unfinished, NAMES_FILE)


if __name__ == "__main__":
    main()
