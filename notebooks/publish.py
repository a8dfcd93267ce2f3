"""Render the lessons as web pages: python -m notebooks.publish [--out FOLDER]

A page shows a lesson as it ran, its exercises with their solutions folded. Each page is one file,
without scripts, and needs neither a kernel nor a network: pictures are inside, formulas are MathML.
"""

import argparse
import posixpath
import re
from pathlib import Path

import nbformat
from jinja2 import pass_context
from jinja2.runtime import Context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode

from notebooks.build import RELEASE, REPOSITORY

COURSE = Path(__file__).resolve().parents[1]
TEMPLATE = Path(__file__).with_name("pages") / "page.html.j2"
FILES = f"https://github.com/{REPOSITORY}/blob/{RELEASE}"
LESSON = re.compile(r"notebooks/(?:solutions/)?(\d\d_\w+)\.ipynb")


class PublishError(Exception):
    """A lesson that cannot be rendered; the message says where and what."""


def site(course: Path = COURSE) -> dict[str, str]:
    """The pages' HTML by file name, in reading order."""
    paths = sorted((course / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    notebooks = {"index.html": contents(course)}
    notebooks |= {f"{path.stem}.html": lesson(path) for path in paths}
    titles = {name: page.cells[0].source.split("\n")[0][2:] for name, page in notebooks.items()}
    exporter, pages = Exporter(), {}
    for name, notebook in notebooks.items():
        folder = "." if name == "index.html" else "notebooks"
        resources = {"metadata": {"path": str(course / folder)}, "folder": folder, "headings": []}
        resources |= {"page": name, "titles": titles}
        pages[name], _ = exporter.from_notebook_node(notebook, resources)
    return pages


def contents(course: Path) -> NotebookNode:
    """What the README says of the course and its lessons, as a notebook of one cell."""
    introduction, *sections = (course / "README.md").read_text("utf-8").split("\n## ")
    (lessons,) = (section for section in sections if section.startswith("Lessons\n"))
    cell = nbformat.v4.new_markdown_cell(f"{introduction}\n## {lessons}", id="contents")
    return nbformat.v4.new_notebook(cells=[cell])


def lesson(path: Path) -> NotebookNode:
    """The solved lesson, with the learner's `stub` beside each solution and a text per picture."""
    learner = nbformat.read(path, as_version=4)
    solved = nbformat.read(path.parent / "solutions" / path.name, as_version=4)
    for number, (cell, given) in enumerate(zip(solved.cells, learner.cells, strict=True), 1):
        if cell.metadata.get("nbgrader", {}).get("solution"):
            cell.metadata.stub = given.source
            cell.source = re.sub(r"(?m)^ *### (BEGIN|END) SOLUTION\n?", "", cell.source)
        outputs = cell.get("outputs", [])
        printed = "".join(output.text for output in outputs if output.output_type == "stream")
        for output in outputs:
            if "image/png" in output.get("data", {}):
                text = output.data["text/plain"]
                text = " ".join((printed if text.startswith("<Figure") else text).split())
                if not text:
                    raise PublishError(f"{path.stem}, cell {number}: print a line for the figure")
                output.metadata["image/png"] = {"alt": text}
    return solved


class Exporter(HTMLExporter):
    """nbconvert's HTML with our template and our Markdown."""

    def __init__(self):
        super().__init__(template_name="basic", template_file=str(TEMPLATE))

    @pass_context
    def markdown2html(self, context: Context, source: str) -> str:
        """The filter of this name."""
        renderer = Renderer(context["resources"])
        try:
            return MarkdownWithMath(renderer).render(source)
        except PublishError as error:
            number = context["nb"].cells.index(context["cell"]) + 1
            page = context["resources"]["page"].removesuffix(".html")
            raise PublishError(f"{page}, cell {number}: {error}") from None


class Renderer(IPythonRenderer):
    """Markdown to HTML; its headings go to resources["headings"] as (level, anchor, text)."""

    def __init__(self, resources: dict):
        super().__init__(escape=False, embed_images=True, path=resources["metadata"]["path"])
        self.folder, self.headings = resources["folder"], resources["headings"]

    def inline_math(self, body: str) -> str:
        return mathml(body, "inline")

    def block_math(self, body: str) -> str:
        return mathml(body, "block")

    def heading(self, text: str, level: int, **_) -> str:
        anchor = re.sub("<.*?>", "", text).replace(" ", "-")  # as in JupyterLab
        self.headings.append((level, anchor, text))
        link = f'<a class="anchor" href="#{anchor}" aria-label="link to this section">#</a>'
        return f'<h{level} id="{anchor}">{text} {link}</h{level}>\n'

    def link(self, text: str, url: str, title: str | None = None) -> str:
        if not re.match(r"\w+:|#", url):  # a path: to a page, or to a file of the repository
            path, hash_, anchor = url.partition("#")
            path = posixpath.normpath(posixpath.join(self.folder, path))
            page = LESSON.fullmatch(path)
            url = (f"{page[1]}.html" if page else f"{FILES}/{path}") + hash_ + anchor
        return super().link(text, url, title)


def mathml(tex: str, display: str) -> str:
    """The formula as MathML; what the converter does not know is an error."""
    try:
        formula = convert(tex, display=display)
    except Exception as error:
        raise PublishError(f"{type(error).__name__} in ${tex}$") from None
    if "\\" in formula or tex.count("{") != tex.count("}"):  # both pass the converter
        raise PublishError(f"unknown command or open brace in ${tex}$")
    formula = re.sub(r"<mo>(\w\w+)</mo>", r"<mi>\1</mi>", formula)
    function = r"(<mi>\w\w+</mi>|<msup><mi>\w\w+</mi>.*?</msup>)"  # ln, tanh² take a thin space
    return re.sub(rf"{function}(?!<mo>|</)", r'\1<mspace width="0.167em" />', formula)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Render the lessons as web pages.")
    parser.add_argument("--out", type=Path, metavar="FOLDER", default=COURSE / "build" / "site")
    out = parser.parse_args(arguments).out
    try:
        pages = site()
    except PublishError as error:
        raise SystemExit(error) from None
    out.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        (out / name).write_text(text, "utf-8")
        print(f"written: {out / name} ({(out / name).stat().st_size / 1e6:.2f} MB)")
    total = sum((out / name).stat().st_size for name in pages)
    print(f"{len(pages)} pages, {total / 1e6:.1f} MB: open {out / 'index.html'}")


if __name__ == "__main__":
    main()
