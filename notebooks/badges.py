"""Point the course at its home on GitHub: python -m notebooks.badges [OWNER/NAME]

REPOSITORY and RELEASE in build.py say what the README's badges open in Colab and what the set-up
cells fetch there. This brings all of these places in line, after a change of repository to
OWNER/NAME. Only set-up cells change in a notebook: nothing is run again.
"""

import argparse
import re
from pathlib import Path

import nbformat

from notebooks import build

COURSE = Path(build.__file__).resolve().parents[1]
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+(?<!\.git)")


def out_of_line(repository: str = build.REPOSITORY) -> dict[Path, str]:
    """Each file that names another repository or release, and what it should hold."""
    bootstrap = build.BOOTSTRAP.replace(
        f"github.com/{build.REPOSITORY}", f"github.com/{repository}"
    )

    def settings(text: str) -> str:
        return re.sub(r"(?m)^REPOSITORY = .*$", f'REPOSITORY = "{repository}"', text)

    def badges(text: str) -> str:
        place = f"colab.research.google.com/github/{repository}/blob/{build.RELEASE}/"
        return re.sub(r"colab\.research\.google\.com/github/[^/]+/[^/]+/blob/[^/]+/", place, text)

    def source(text: str) -> str:
        return build.with_bootstrap(text).replace(build.BOOTSTRAP, bootstrap)

    def notebook(text: str) -> str:
        content = nbformat.reads(text, as_version=4)
        for cell in content.cells:
            if "bootstrap" in cell.metadata.get("tags", []):
                cell.source = bootstrap
        return nbformat.writes(content) + "\n"

    changes = {
        "README.md": badges,
        "notebooks/build.py": settings,
        "notebooks/src/*.py": source,
        "notebooks/[0-9]*.ipynb": notebook,
        "notebooks/solutions/*.ipynb": notebook,
    }
    texts = {}
    for pattern, change in changes.items():
        for path in sorted(COURSE.glob(pattern)):
            text = path.read_text("utf-8")
            if change(text) != text:
                texts[path] = change(text)
    return texts


def main() -> None:
    parser = argparse.ArgumentParser(description="Bring badges and set-up cells in line.")
    parser.add_argument("repository", nargs="?", default=build.REPOSITORY, metavar="OWNER/NAME")
    repository = parser.parse_args().repository
    if not NAME.fullmatch(repository):
        parser.error(f"{repository} is no repository on GitHub; name it as in REPO=owner/name")
    texts = out_of_line(repository)
    partials = {path: path.with_name(f"{path.name}.partial") for path in texts}
    for path, partial in partials.items():
        partial.write_text(texts[path], "utf-8")
    for path, partial in partials.items():
        partial.replace(path)
        print(f"rewritten: {path.relative_to(COURSE)}")
    print(f"All open and fetch {repository} at {build.RELEASE}: push a tag of that name.")


if __name__ == "__main__":
    main()
