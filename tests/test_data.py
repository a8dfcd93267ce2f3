"""Corpora are read, fetched and cut exactly, and whatever is wrong with one is named."""

import hashlib
import importlib.util
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from helpers import data
from helpers.data import CorpusError, Vocabulary, build_splits, load_names

ROOT = Path(__file__).parents[1]
LECTURE_FILE = ROOT / "../shared/data/makemore_names.txt"
STAND_IN = b"emma\nolivia\nava\nisabella\nsophia\nmia\n"  # takes the place of the lecture's file

needs_lecture_file = pytest.mark.skipif(
    not LECTURE_FILE.exists(), reason="no copy of the lecture's names.txt beside the repository"
)
needs_faker = pytest.mark.skipif(
    importlib.util.find_spec("faker") is None, reason="Faker, of requirements-dev.txt, is missing"
)


# Vocabulary


def test_vocabulary_is_the_end_mark_and_26_letters():
    assert len(Vocabulary()) == 27
    assert Vocabulary().decode(range(27)) == ".abcdefghijklmnopqrstuvwxyz"


def test_decode_undoes_encode():
    assert Vocabulary().encode("emma.") == [5, 13, 13, 1, 0]
    assert Vocabulary().decode(torch.tensor([5, 13, 13, 1, 0])) == "emma."


@pytest.mark.parametrize("symbol", ["E", "é", " ", "\N{CYRILLIC SMALL LETTER A}"])
def test_encode_names_the_unknown_character(symbol):
    with pytest.raises(ValueError, match=re.escape(f"{symbol!a} in 'em{symbol}a'")):
        Vocabulary().encode(f"em{symbol}a")


@pytest.mark.parametrize("index", [-1, 27])
def test_decode_names_the_index_out_of_range(index):
    with pytest.raises(ValueError, match=f"index {index} is outside 0-26"):
        Vocabulary().decode([1, index])


# Corpora in files


def test_world_names_are_sorted_unique_and_made_of_2_to_15_letters():
    names = load_names()
    assert names == sorted(set(names))
    assert all(re.fullmatch("[a-z]{2,15}", name) for name in names)


def test_world_names_load_from_any_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(load_names("world")) == 18_730


@pytest.mark.parametrize(
    "body",
    [
        b"mia\nava\nmia\n",
        b"mia\nava\nmia",
        b"mia\r\nava\r\nmia\r\n",
        b"\xef\xbb\xbfmia\nava\nmia\n",
        b"mia\nava\nmia\n\r\n\n",
    ],
    ids=["plain", "no final newline", "CRLF", "byte order mark", "blank lines at the end"],
)
def test_a_file_keeps_its_order_and_repeats_however_an_editor_saved_it(body, tmp_path):
    file = tmp_path / "names.txt"
    file.write_bytes(body)
    assert load_names(str(file)) == ["mia", "ava", "mia"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "names.txt is empty"),
        (b"\xef\xbb\xbf\r\n", "names.txt is empty"),
        (b"mia\nAva\n", "line 2 is 'Ava', and 'A' is not .* lower-case"),
        (b"mia\r\nava \r\n", "line 2 is 'ava ', and ' ' is not"),
        (b"mia\nzo\xc3\xab\n", r"line 2 is 'zoë', and '\\xeb' is not .* without accents"),
        (b"mia\n\nava\n", "line 2 is blank"),
        (b" \nava\n", "line 1 is blank"),
        (b"mia\nava\nzo\xeb\n", "line 3 is not UTF-8 text"),
        (b"\xff\xfem\x00i\x00a\x00", "line 1 is not UTF-8 text"),
        (b"mia\rava\r", r"line 1 is 'mia\\rava\\r', and '\\r' is not"),
        (b"mia\x0bava\n", r"line 1 is 'mia\\x0bava'"),
    ],
)
def test_a_file_that_is_no_corpus_is_named_with_its_line(body, message, tmp_path):
    file = tmp_path / "names.txt"
    file.write_bytes(body)
    with pytest.raises(CorpusError, match=message) as caught:
        load_names(file)
    assert str(caught.value).startswith(str(file))


def test_a_line_number_counts_the_lines_before_a_bad_byte_despite_a_byte_order_mark(tmp_path):
    file = tmp_path / "names.txt"
    file.write_bytes(b"\xef\xbb\xbfa\nb\n\xeb\n")
    with pytest.raises(CorpusError, match="line 3 is not UTF-8"):
        load_names(file)


def test_a_missing_file_and_a_folder_are_named_with_the_sources_there_are(tmp_path):
    with pytest.raises(CorpusError, match=r'nothing.txt cannot be read: No such file.*"world"'):
        load_names(str(tmp_path / "nothing.txt"))
    with pytest.raises(CorpusError, match=f"{tmp_path} cannot be read: Is a directory"):
        load_names(str(tmp_path))


def test_a_tilde_is_the_home_folder(cache, tmp_path, monkeypatch):
    (tmp_path / "names.txt").write_bytes(STAND_IN)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MAKEMORE_NAMES", "~/names.txt")
    assert load_names("~/names.txt") == load_names("makemore")


# Splits


def test_splits_are_those_of_the_lecture_loop():
    names = load_names("world")[::20]
    splits = build_splits(names, block_size=4, seed=7)

    shuffled = names.copy()
    random.Random(7).shuffle(shuffled)
    cuts = [0, int(0.8 * len(names)), int(0.9 * len(names)), len(names)]
    for split, start, stop in zip(
        [splits.train, splits.val, splits.test], cuts[:-1], cuts[1:], strict=True
    ):
        contexts, targets = [], []
        for name in shuffled[start:stop]:
            context = [0] * 4
            for symbol in name + ".":
                index = ".abcdefghijklmnopqrstuvwxyz".index(symbol)
                contexts.append(context)
                targets.append(index)
                context = [*context[1:], index]
        assert split.contexts.dtype == split.targets.dtype == torch.int64
        assert torch.equal(split.contexts, torch.tensor(contexts))
        assert torch.equal(split.targets, torch.tensor(targets))
        assert len(split) == len(targets)


def test_splitting_leaves_the_names_and_the_global_random_state_alone():
    names = load_names("world")[:100]
    before, state = names.copy(), random.getstate()
    build_splits(names)
    assert names == before
    assert random.getstate() == state


def test_six_names_are_the_fewest_that_fill_every_part():
    names = list("abcdef")
    assert len(build_splits(names).val) == 2
    for count in range(6):
        with pytest.raises(CorpusError, match=f"{count} names leave a part .* empty: use 6"):
            build_splits(names[:count])


@pytest.mark.parametrize("name", ["Ava", "a.b", "ava\n", ""])
def test_a_name_that_cannot_be_encoded_is_named_with_its_place(name):
    with pytest.raises(CorpusError, match=r"^name 3 of 7 is "):
        build_splits(["mia", "ava", name, "eva", "ida", "ada", "una"])


@pytest.mark.parametrize("block_size", [0, -1])
def test_a_context_has_at_least_one_symbol(block_size):
    with pytest.raises(ValueError, match=f"block_size is {block_size}"):
        build_splits(list("abcdef"), block_size=block_size)


def test_splits_show_their_sizes_instead_of_their_tensors():
    splits = build_splits(["mia"] * 10)
    assert repr(splits.train) == "Split(32 examples, block_size=3)"
    assert repr(splits) == (
        "Splits(train=Split(32 examples, block_size=3), val=Split(4 examples, block_size=3), "
        "test=Split(4 examples, block_size=3), vocabulary=Vocabulary())"
    )


@needs_lecture_file
def test_the_lecture_corpus_gives_the_lecture_sizes(monkeypatch):
    monkeypatch.setenv("MAKEMORE_NAMES", str(LECTURE_FILE))
    names = load_names("makemore")
    assert len(names) == 32_033
    assert LECTURE_FILE.stat().st_size == data.MAKEMORE_BYTES
    splits = build_splits(names)
    sizes = (len(splits.train), len(splits.val), len(splits.test))
    assert sizes == (182_625, 22_655, 22_866)


# The lecture's corpus: a copy of one's own, the cache, the download


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Returns the path of the cached file, not there yet; STAND_IN is the lecture's file."""
    monkeypatch.delenv("MAKEMORE_NAMES", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(data, "MAKEMORE_SHA256", hashlib.sha256(STAND_IN).hexdigest())
    monkeypatch.setattr(data, "MAKEMORE_BYTES", len(STAND_IN))
    monkeypatch.setattr(data, "MAKEMORE_URL", "http://127.0.0.1:9/nobody-listens")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache" / "unit-gaussian" / "makemore_names.txt"


def files_below(folder):
    """Returns every file and link below `folder`, which need not exist."""
    return [path for path in folder.rglob("*") if not path.is_dir()]


def test_a_copy_named_by_the_environment_is_used_and_not_cached(cache, tmp_path, monkeypatch):
    copy = tmp_path / "copy.txt"
    copy.write_bytes(STAND_IN)
    monkeypatch.setenv("MAKEMORE_NAMES", str(copy))
    assert load_names("makemore") == ["emma", "olivia", "ava", "isabella", "sophia", "mia"]
    assert not cache.exists()


def test_a_copy_that_is_another_file_is_refused_with_both_sums(cache, tmp_path, monkeypatch):
    copy = tmp_path / "copy.txt"
    copy.write_bytes(b"emma\n")
    monkeypatch.setenv("MAKEMORE_NAMES", str(copy))
    with pytest.raises(CorpusError, match="MAKEMORE_NAMES") as caught:
        load_names("makemore")
    assert str(copy) in str(caught.value)
    assert data.MAKEMORE_SHA256 in str(caught.value)
    assert hashlib.sha256(b"emma\n").hexdigest() in str(caught.value)


def test_a_copy_that_is_missing_is_an_error_even_with_a_good_cache(cache, tmp_path, monkeypatch):
    cache.parent.mkdir(parents=True)
    cache.write_bytes(STAND_IN)
    monkeypatch.setenv("MAKEMORE_NAMES", str(tmp_path / "nothing.txt"))
    with pytest.raises(CorpusError, match=r"nothing.txt cannot be read.*MAKEMORE_NAMES"):
        load_names("makemore")


def test_offline_is_one_sentence_with_two_ways_on(cache):
    with pytest.raises(CorpusError, match=r'refused.*MAKEMORE_NAMES.*"world"') as caught:
        load_names("makemore")
    assert caught.value.__cause__ is None  # a learner sees no traceback of urllib
    assert caught.value.__suppress_context__


class Server(ThreadingHTTPServer):
    """A web server on this machine that replies as its `answer(handler)` does."""

    daemon_threads = False  # so that server_close waits for them

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests = 0
        self.answer = sends(STAND_IN)
        self.closing = threading.Event()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests += 1
        with suppress(ConnectionError):
            self.server.answer(self)

    def log_message(self, *arguments):
        pass


def sends(body, length=None):
    """Returns an answer of 200 with `body`, announced as `length` bytes."""

    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(length or len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def sends_404(handler):
    handler.send_error(404)


def hangs_up(handler):
    handler.wfile.write(b"HTTP/1.0 2")


def stalls(handler):
    sends(STAND_IN[:9], length=len(STAND_IN))(handler)
    handler.server.closing.wait(10)


def drips(beginning):
    """Returns an answer that sends `beginning`, then a byte every 50 ms without an end."""

    def answer(handler):
        handler.wfile.write(beginning)
        while not handler.server.closing.wait(0.05):
            handler.wfile.write(b"e")

    return answer


@pytest.fixture
def server(cache, monkeypatch):
    """Yields a Server at MAKEMORE_URL. Afterwards no thread of it or of the download is left."""
    threads = set(threading.enumerate())
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setattr(data, "MAKEMORE_URL", f"http://127.0.0.1:{server.server_port}/names.txt")
    monkeypatch.setattr(data, "READ_SECONDS", 0.3)
    monkeypatch.setattr(data, "DOWNLOAD_SECONDS", 0.6)
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()
    for left in set(threading.enumerate()) - threads:
        left.join(2)
        assert not left.is_alive()


def test_a_download_is_kept_and_not_repeated(server, cache):
    names = load_names("makemore")
    assert names == STAND_IN.decode().split()
    assert load_names("makemore") == names
    assert server.requests == 1
    assert files_below(cache.parent) == [cache]
    assert cache.read_bytes() == STAND_IN


@pytest.mark.parametrize("damaged", [b"", STAND_IN[:-1], STAND_IN.upper()])
def test_a_damaged_cache_is_replaced(damaged, server, cache):
    cache.parent.mkdir(parents=True)
    cache.write_bytes(damaged)
    assert load_names("makemore") == STAND_IN.decode().split()
    assert cache.read_bytes() == STAND_IN


BAD_ANSWERS = {
    "404": (sends_404, "404"),
    "hangs up": (hangs_up, "BadStatusLine"),
    "cut off": (sends(STAND_IN[:9], length=len(STAND_IN)), "holds 9 bytes"),
    "too short": (sends(STAND_IN[:9]), "holds 9 bytes"),
    "wrong content": (sends(b"<html>Please log in to this network.</html>"), "holds 43 bytes"),
    "wrong content of the right size": (sends(STAND_IN.upper()), "sha256"),
    "stalls": (stalls, "timed out"),
    "drips its body": (drips(b"HTTP/1.0 200 OK\r\n\r\n"), "not finished after 0.6 seconds"),
    "drips its headers": (drips(b"HTTP/1.0 200 OK\r\nX: "), "not finished after 0.6 seconds"),
}


@pytest.mark.parametrize(("answer", "reason"), BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_a_bad_download_is_one_error_and_leaves_nothing_behind(answer, reason, server, cache):
    server.answer = answer
    start = time.monotonic()
    with pytest.raises(CorpusError, match=f'names.txt .*{reason}.*MAKEMORE_NAMES.*"world"'):
        load_names("makemore")
    assert time.monotonic() - start < 2
    assert files_below(cache.parent) == []

    server.answer = sends(STAND_IN)
    assert load_names("makemore") == STAND_IN.decode().split()
    assert cache.read_bytes() == STAND_IN


def test_a_download_given_up_stops_reading(server):
    threads = set(threading.enumerate())
    server.answer = drips(b"HTTP/1.0 200 OK\r\n\r\n")
    with pytest.raises(CorpusError, match="not finished"):
        load_names("makemore")
    for thread in set(threading.enumerate()) - threads:
        thread.join(0.5)
        assert not thread.is_alive()


def test_a_download_given_up_does_not_keep_the_interpreter_from_ending(server):
    server.answer = drips(b"HTTP/1.0 200 OK\r\nX: ")
    with pytest.raises(CorpusError, match="not finished"):
        load_names("makemore")
    downloads = [thread for thread in threading.enumerate() if "(fetch)" in thread.name]
    assert [thread.daemon for thread in downloads] == [True]


def test_an_endless_body_is_not_read_to_its_end(server, monkeypatch):
    monkeypatch.setattr(data, "DOWNLOAD_SECONDS", 30.0)
    server.answer = drips(b"HTTP/1.0 200 OK\r\n\r\n" + b"e" * 1000)
    with pytest.raises(CorpusError, match=r"holds 1,0\d\d bytes"):
        load_names("makemore")


def test_an_interrupted_write_leaves_no_part_of_the_file(server, cache, monkeypatch):
    def fail(source, destination):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(CorpusError, match=r"disk full.*MAKEMORE_NAMES"):
        load_names("makemore")
    assert files_below(cache.parent) == []


def test_a_cache_that_cannot_be_made_is_named(server, cache, tmp_path):
    (tmp_path / "cache").write_bytes(b"in the way")
    with pytest.raises(CorpusError, match=f"could not be fetched into {cache}"):
        load_names("makemore")


# The file data/names.txt: its script and its card


@needs_faker
def test_the_script_rebuilds_the_world_names_byte_for_byte(tmp_path):
    script = tmp_path / "build_names.py"
    script.write_bytes((ROOT / "data" / "build_names.py").read_bytes())
    subprocess.run([sys.executable, "-W", "error", script], cwd=tmp_path, check=True)
    assert (tmp_path / "names.txt").read_bytes() == data.WORLD_FILE.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["build_names.py", "names.txt"]


def test_the_script_refuses_another_faker(tmp_path):
    source = (ROOT / "data" / "build_names.py").read_text(encoding="utf-8")
    script = tmp_path / "build_names.py"
    script.write_text(re.sub(r'"\d+\.\d+\.\d+"', '"0.0.1"', source), encoding="utf-8")
    run = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.startswith("names.txt is built from Faker 0.0.1, and the installed version")
    assert list(tmp_path.iterdir()) == [script]


def test_the_script_and_the_requirements_pin_the_same_faker():
    requirements = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8")
    version = re.search(r"^Faker==(\S+)$", requirements, flags=re.MULTILINE)[1]
    script = (ROOT / "data" / "build_names.py").read_text(encoding="utf-8")
    assert f'FAKER_VERSION = "{version}"' in script


def test_the_card_tells_the_sum_the_count_the_lengths_and_the_splits():
    card = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    names = load_names("world")
    splits = build_splits(names)
    assert hashlib.sha256(data.WORLD_FILE.read_bytes()).hexdigest() in card
    assert f"\n{len(names):,} first names" in card
    for length, count in Counter(map(len, names)).items():
        assert f"| {length} | {count:,} |" in card
    for name in ("train", "val", "test"):
        assert re.search(rf"\| {name} \| [\d,]+ \| {len(getattr(splits, name)):,} \|", card)
