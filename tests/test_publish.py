"""The web pages of the real lessons, and of tiny ones that cannot be rendered."""

import re
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup

from notebooks import build, publish

README = "# A tiny course\n\n## Start\n\nRun it.\n\n## Lessons\n\n[One](notebooks/01_tiny.ipynb)\n"


@pytest.fixture(scope="module")
def site():
    """The pages' HTML by file name."""
    return publish.site()


@pytest.fixture(scope="module")
def pages(site):
    """The pages, parsed, by file name."""
    return {name: BeautifulSoup(text, "html.parser") for name, text in site.items()}


def lessons():
    """Each lesson's page name with its solved notebook."""
    for path in sorted((publish.COURSE / "notebooks" / "solutions").glob("*.ipynb")):
        yield f"{path.stem}.html", nbformat.read(path, as_version=4)


def tiny_site(folder: Path, *cells: nbformat.NotebookNode) -> dict[str, str]:
    """The site of a course of one lesson, which has these cells after its title."""
    (folder / "README.md").write_text(README)
    (folder / "notebooks" / "solutions").mkdir(parents=True)
    title = nbformat.v4.new_markdown_cell("# 01 · Tiny\n\n## A part")
    notebook = nbformat.v4.new_notebook(cells=[title, *cells])
    for place in ("", "solutions"):
        nbformat.write(notebook, folder / "notebooks" / place / "01_tiny.ipynb")
    return publish.site(folder)


def test_every_lesson_has_a_page_and_the_contents_lead_to_each(pages):
    names = [name for name, _ in lessons()]
    assert [*pages] == ["index.html", *names]
    linked = [link["href"] for link in pages["index.html"].main.select("td a")]
    assert [name for name in linked if name in pages] == names


def test_the_contents_say_what_the_readme_says(pages):
    readme = (publish.COURSE / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| \d\d \| \[(.*?)\]\(.*?\) \| (.*?) \| (\d+) \|", readme, re.M)
    cells = [[cell.text for cell in row("td")] for row in pages["index.html"]("tr")[1:]]
    assert [tuple(row[1:4]) for row in cells] == rows
    assert "make " not in pages["index.html"].main.text


def test_previous_and_next_lead_through_all_pages_and_back(pages):
    names = [*pages]
    for name, before, after in zip(names, [None, *names], [*names[1:], None], strict=False):
        for link in pages[name].select(".neighbours a"):
            assert link["href"] == {"prev": before, "next": after}[link["rel"][0]]
        assert len(pages[name].select(".neighbours a")) == 2 * bool(before) + 2 * bool(after)


def test_every_link_and_anchor_resolves(pages):
    anchors = {name: [tag["id"] for tag in page.select("[id]")] for name, page in pages.items()}
    for name, page in pages.items():
        assert len(anchors[name]) == len(set(anchors[name])), f"{name} has an anchor twice"
        for href in (link["href"] for link in page.select("a")):
            target, _, anchor = href.partition("#")
            if target.startswith(publish.FILES):
                assert (publish.COURSE / target.removeprefix(f"{publish.FILES}/")).exists(), href
            elif not target.startswith("https://"):
                assert (target or name) in pages, href
                assert not anchor or anchor in anchors[target or name], href


def test_every_heading_of_a_lesson_is_in_its_table_of_contents(pages):
    for name, _ in lessons():
        page = pages[name]
        headings = [heading["id"] for heading in page.main.select("h2, h3, h4")]
        links = [link["href"] for link in page.select(".toc a")]
        assert links == ["index.html", *(f"#{id_}" for id_ in headings)]
        assert headings, name


def test_a_page_loads_nothing(site, pages):
    for name, page in pages.items():
        assert not page.select("script, link, iframe, object, embed, video, audio, source"), name
        for image in page("img"):
            assert image["src"].startswith("data:image/png;base64,"), name
        for style in page("style"):
            assert not re.search(r"@import|url\(", style.text), name
        assert not re.search(
            r"\s(on\w+|srcset|background)=", re.sub("<pre.*?</pre>", "", site[name])
        )


def test_every_formula_became_mathml(pages):
    for name, notebook in lessons():
        sources = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
        formulas = re.findall(r"\$\$.+?\$\$|\$.+?\$", "\n\n".join(sources), re.S)
        page = BeautifulSoup(str(pages[name].main), "html.parser")
        displays = [math.extract()["display"] for math in page("math")]
        assert displays == ["block" if tex.startswith("$$") else "inline" for tex in formulas]
        for code in page(["pre", "code"]):
            code.extract()
        assert "$" not in page.text


def test_every_picture_of_a_lesson_is_there_and_says_what_it_shows(pages):
    for name, notebook in lessons():
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        pictures = [output for output in outputs if "image/png" in output.get("data", {})]
        images = pages[name]("img")
        assert len(images) == len(pictures)
        for image, picture in zip(images, pictures, strict=True):
            text = picture.data["text/plain"]
            assert image["alt"] == text or text.startswith("<Figure size")
            assert len(image["alt"]) > 20
            assert "<Figure size" not in image["alt"]


def test_each_slider_panel_is_called_a_still(pages):
    for name, notebook in lessons():
        panels = [
            cell for cell in notebook.cells if re.search(r"^widgets\.\w+\(", cell.source, re.M)
        ]
        assert len(pages[name]("figcaption")) == len(panels)
    assert sum(len(page("figcaption")) for page in pages.values()) >= 3


def test_a_solution_is_folded_under_the_learners_stub(pages):
    for name, notebook in lessons():
        exercises = [c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("solution")]
        folded = [fold for fold in pages[name]("details") if fold.summary.text == "Solution"]
        assert len(folded) == len(exercises) > 0
        for cell, fold in zip(exercises, folded, strict=True):
            answer = re.search("### BEGIN SOLUTION\n(.*?) *### END", cell.source, re.S)[1]
            assert answer in fold.text
            fold.extract()
            assert answer not in pages[name].main.text
        assert pages[name].main.text.count("YOUR CODE HERE") == len(exercises)
        assert "### BEGIN" not in pages[name].main.text


def test_the_set_up_and_the_hints_are_folded(pages):
    for name, notebook in lessons():
        hints = "".join(cell.source for cell in notebook.cells).count("<summary>Hint</summary>")
        summaries = [fold.summary.text for fold in pages[name]("details")]
        assert summaries.count("Set-up") == 1
        assert summaries.count("Hint") == hints
        for fold in pages[name]("details"):
            if fold.summary.text == "Hint":
                assert not re.search(r"`|\*\*|\]\(", fold.text), fold.text


def test_links_between_lessons_lead_to_pages_and_others_to_the_repository(tmp_path):
    text = (
        "[a](solutions/01_tiny.ipynb#A-part) [b](../data/README.md) [c](#A-part) [d](https://e.org)"
    )
    page = tiny_site(tmp_path, nbformat.v4.new_markdown_cell(text))["01_tiny.html"]
    links = BeautifulSoup(page, "html.parser").main.select("p a")
    files = f"https://github.com/{build.REPOSITORY}/blob/{build.RELEASE}"
    assert [link["href"] for link in links] == [
        "01_tiny.html#A-part",
        f"{files}/data/README.md",
        "#A-part",
        "https://e.org",
    ]


@pytest.mark.parametrize("tex", [r"\left( x", r"\unheard x", r"\frac{1", "x}"])
def test_a_broken_formula_is_named_with_its_lesson_and_cell(tmp_path, tex):
    cells = [nbformat.v4.new_code_cell("1"), nbformat.v4.new_markdown_cell(f"So ${tex}$ it is.")]
    message = rf"01_tiny, cell 3: .+ in {re.escape(f'${tex}$')}"
    with pytest.raises(publish.PublishError, match=message):
        tiny_site(tmp_path, *cells)


def test_a_figure_of_which_nothing_is_printed_is_named_with_its_lesson_and_cell(tmp_path):
    data = {"text/plain": "<Figure size 700x360 with 1 Axes>", "image/png": "iVBORw0KGgo="}
    cell = nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("display_data", data)])
    with pytest.raises(publish.PublishError, match="01_tiny, cell 2: print a line"):
        tiny_site(tmp_path, cell)


def test_the_same_lessons_give_the_same_pages(site, tmp_path, capsys):
    publish.main(["--out", str(tmp_path / "site")])
    assert {path.name: path.read_text("utf-8") for path in (tmp_path / "site").iterdir()} == site
    total = sum(path.stat().st_size for path in (tmp_path / "site").iterdir())
    assert f"{len(site)} pages, {total / 1e6:.1f} MB" in capsys.readouterr().out
