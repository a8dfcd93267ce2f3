"""The recorded studies are complete, and one cell of each comes out the same when made again."""

import json
import math

import pytest

from helpers import data, evidence
from helpers.studies import STUDIES, Cell, Study

RECORDS = sorted(evidence.FOLDER.glob("*.json"))

# A rerun on another processor drifts apart over thousands of steps; seeds differ by about 0.02.
SAME_LOSS = 5e-3


def cheapest(study: Study) -> Cell:
    return min(study.cells, key=lambda cell: cell.steps * cell.settings.get("depth", 1))


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_is_recorded_on_both_corpora(name):
    for corpus in evidence.CORPORA:
        assert evidence.record_path(name, corpus) in RECORDS


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_every_record_holds_each_cell_of_its_study_for_each_seed(path):
    record = json.loads(path.read_text("utf-8"))
    study = STUDIES[record["study"]]
    assert list(record["rows"]) == [cell.label for cell in study.cells]
    assert record["question"] == study.question
    for row in record["rows"].values():
        assert len(row["val"]) == len(row["curve"]) == len(record["seeds"]) == study.seeds


@pytest.mark.parametrize("name", STUDIES)
def test_one_cell_of_each_study_made_again_is_what_was_recorded(name):
    study = STUDIES[name]
    cell = cheapest(study)
    splits = data.build_splits(data.load_names("world"))
    again = evidence.run_cell(cell, [0], splits, study.measure, progress=False)
    recorded = evidence.load(name, "world").rows[cell.label]
    for key in set(again) - {"cell", "curve", "diverged"}:
        assert again[key][0] == pytest.approx(recorded[key][0], abs=SAME_LOSS), key
    assert again["diverged"] == recorded["diverged"][:1]


def tiny_study(monkeypatch) -> Study:
    study = Study("?", (Cell("short", steps=4), Cell("shorter", steps=2)), seeds=2)
    monkeypatch.setitem(STUDIES, "tiny", study)
    return study


def test_a_killed_run_resumes_with_the_cell_it_was_at(tmp_path, monkeypatch):
    tiny_study(monkeypatch)
    path = tmp_path / "tiny-world.json"
    run_cell, calls = evidence.run_cell, []

    def killed_at_the_second_cell(cell, *rest):
        calls.append(cell.label)
        if calls == ["short", "shorter"]:
            raise KeyboardInterrupt
        return run_cell(cell, *rest)

    monkeypatch.setattr(evidence, "run_cell", killed_at_the_second_cell)
    with pytest.raises(KeyboardInterrupt):
        evidence.run("tiny", "world", save=path, progress=False)
    evidence.run("tiny", "world", save=path, progress=False)
    assert calls == ["short", "shorter", "shorter"]
    rows = json.loads(path.read_text("utf-8"))["rows"]
    assert list(rows) == ["short", "shorter"]
    assert all(math.isfinite(loss) for row in rows.values() for loss in row["val"])


def test_a_cell_with_other_settings_is_not_taken_from_an_older_record(tmp_path, monkeypatch):
    tiny_study(monkeypatch)
    path = tmp_path / "tiny-world.json"
    evidence.run("tiny", "world", save=path, progress=False)
    changed = Study("?", (Cell("short", steps=3), Cell("shorter", steps=2)), seeds=2)
    monkeypatch.setitem(STUDIES, "tiny", changed)
    record = evidence.run("tiny", "world", save=path, progress=False)
    assert record["rows"]["short"]["cell"]["steps"] == 3


def test_a_small_study_without_a_record_is_run_when_it_is_loaded(tmp_path, monkeypatch, capsys):
    tiny_study(monkeypatch)
    monkeypatch.setattr(evidence, "FOLDER", tmp_path)
    found = evidence.load("tiny", "world")
    assert found.values("short").shape == (2,)
    assert found.curves("short").shape == (2, 1)
    assert "run now" in capsys.readouterr().out


def test_a_long_study_without_a_record_says_that_it_shows_another_corpus(tmp_path, capsys):
    names = tmp_path / "names.txt"
    names.write_text("emma\n" * 20, "utf-8")
    assert evidence.load("schemes", str(names)).corpus == "world"
    assert "no record for" in capsys.readouterr().out
