"""Corpora of names, the 27-symbol vocabulary, and the examples that a model trains on.

A corpus is a list of names made of the letters a-z: the lecture's, ours, or the learner's own.
"""

import hashlib
import os
import random
import re
import tempfile
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from urllib.request import urlopen

import torch

ALPHABET = ".abcdefghijklmnopqrstuvwxyz"  # "." marks both ends of a name

WORLD_FILE = Path(__file__).parents[1] / "data" / "names.txt"

MAKEMORE_URL = (
    "https://raw.githubusercontent.com/karpathy/makemore/"
    "988aa59e4d8fefa526d06f3b453ad116258398d4/names.txt"
)
MAKEMORE_SHA256 = "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d"
MAKEMORE_BYTES = 228_145
MAKEMORE_ADVICE = 'Set MAKEMORE_NAMES to a copy of makemore/names.txt, or use dataset "world".'
READ_SECONDS = 10.0  # the longest wait for the next bytes
DOWNLOAD_SECONDS = 60.0  # the longest wait for the whole file


class CorpusError(ValueError):
    """A corpus that cannot be had or used. The message says where, why, and what to do."""


@dataclass(frozen=True)
class Vocabulary:
    """The 27 symbols of names: index 0 is ".", which marks both ends, and 1-26 are a-z."""

    def __len__(self) -> int:
        return len(ALPHABET)

    def encode(self, text: str) -> list[int]:
        """Returns the index of each symbol: "emma." gives [5, 13, 13, 1, 0].

        Raises ValueError for a character that is not one of the 27.
        """
        for symbol in text:
            if symbol not in ALPHABET:
                raise ValueError(f"{symbol!a} in {text!r} is not one of the symbols {ALPHABET}")
        return [ALPHABET.index(symbol) for symbol in text]

    def decode(self, indices: Iterable[int]) -> str:
        """Returns the symbols at `indices`: [5, 13, 13, 1, 0] gives "emma.".

        Raises ValueError for an index outside 0-26.
        """
        indices = [int(index) for index in indices]
        for index in indices:
            if not 0 <= index < len(self):
                raise ValueError(f"index {index} is outside 0-{len(self) - 1}")
        return "".join(ALPHABET[index] for index in indices)


@dataclass(frozen=True, eq=False)
class Split:
    """The N examples of one part of a corpus: contexts and the symbol that follows each."""

    contexts: torch.Tensor  # (N, block_size) int64
    targets: torch.Tensor  # (N,) int64

    def __len__(self) -> int:
        return len(self.targets)

    def __repr__(self) -> str:
        return f"Split({len(self):,} examples, block_size={self.contexts.shape[1]})"


@dataclass(frozen=True, eq=False)
class Splits:
    """A corpus cut by names into 80% to train on, 10% to choose by and 10% to report."""

    train: Split
    val: Split
    test: Split
    vocabulary: Vocabulary


def load_names(source: str | Path = "world") -> list[str]:
    """Returns the names of a corpus, in the order and with the repeats of its file.

    `source` is "world" (the course's own corpus), "makemore" (the lecture's, from the file that
    the environment variable MAKEMORE_NAMES names, else from a cache, else downloaded), or the
    path of a UTF-8 text file with one name a line.

    Raises CorpusError for a file that is missing, empty or not text, a line that is not a name,
    and a failed download.
    """
    if source == "makemore":
        return _makemore_bytes().decode().split()
    path = WORLD_FILE if source == "world" else Path(source).expanduser()
    hint = 'A source is "world", "makemore", or the path of a text file of names.'
    return _parse_names(_read(path, hint), path)


def build_splits(names: list[str], block_size: int = 3, seed: int = 42) -> Splits:
    """Returns the examples of `names`, shuffled and cut 80/10/10 by names as the lecture does.

    Each name gives one example per letter and one for its end; a context is the `block_size`
    symbols before the target, padded with index 0. `names` itself keeps its order.

    Raises CorpusError for a name that is not made of a-z and where a part would be empty, and
    ValueError for a `block_size` below 1.
    """
    if block_size < 1:
        raise ValueError(f"block_size is {block_size}: a context needs at least 1 symbol")
    for number, name in enumerate(names, start=1):
        _check_name(name, f"name {number} of {len(names)}")
    shuffled = list(names)
    random.Random(seed).shuffle(shuffled)
    first_cut, second_cut = int(0.8 * len(names)), int(0.9 * len(names))
    parts = (shuffled[:first_cut], shuffled[first_cut:second_cut], shuffled[second_cut:])
    if not all(parts):
        raise CorpusError(f"{len(names)} names leave a part of 80/10/10 empty: use 6 or more")
    vocabulary = Vocabulary()
    return Splits(*(_build_split(part, block_size, vocabulary) for part in parts), vocabulary)


def _build_split(names: list[str], block_size: int, vocabulary: Vocabulary) -> Split:
    """Returns the examples of `names`, name by name and from left to right."""
    contexts, targets = [], []
    for name in names:
        indices = vocabulary.encode(name + ".")
        padded = [0] * block_size + indices
        for start in range(len(indices)):
            contexts.extend(padded[start : start + block_size])
        targets.extend(indices)
    return Split(torch.tensor(contexts).view(-1, block_size), torch.tensor(targets))


def _check_name(name: str, place: str) -> None:
    """Raises CorpusError, which begins with `place`, where `name` is not made of a-z."""
    if not name.strip():
        raise CorpusError(f"{place} is blank: remove it")
    stranger = re.search(r"[^a-z]", name)
    if stranger:
        raise CorpusError(
            f"{place} is {name[:40]!r}, and {stranger[0]!a} is not one of the letters a-z: "
            "lower-case the name and spell it without accents, spaces or signs"
        )


def _parse_names(body: bytes, path: Path) -> list[str]:
    """Returns the lines of `body`, each checked to be a name. Raises CorpusError with the line."""
    body = body.removeprefix(b"\xef\xbb\xbf")  # the byte order mark of Windows editors
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        number = body.count(b"\n", 0, error.start) + 1
        raise CorpusError(f"{path}, line {number} is not UTF-8 text: save it as UTF-8") from None
    names = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    if names == [""]:
        raise CorpusError(f"{path} is empty: it needs one name a line")
    for number, name in enumerate(names, start=1):
        _check_name(name, f"{path}, line {number}")
    return names


def _read(path: Path, hint: str) -> bytes:
    """Returns what the file holds. Raises CorpusError, ending with `hint`, where it cannot."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror}. {hint}") from None


def _makemore_bytes() -> bytes:
    """Returns the lecture's names.txt, byte for byte, from the first place that has it."""
    own_copy = os.environ.get("MAKEMORE_NAMES")
    if own_copy:
        return _verified(_read(Path(own_copy).expanduser(), MAKEMORE_ADVICE), own_copy)
    cache_home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(cache_home) / "unit-gaussian" / "makemore_names.txt"
    with suppress(OSError, CorpusError):  # a missing or damaged copy is fetched anew
        return _verified(cache.read_bytes(), str(cache))
    try:
        body = _verified(_download_makemore(), MAKEMORE_URL)
        _store(body, cache)
    except OSError as error:
        raise CorpusError(
            f"{MAKEMORE_URL} could not be fetched into {cache}: {error}. {MAKEMORE_ADVICE}"
        ) from None
    return body


def _download_makemore() -> bytes:
    """Returns what the server has at MAKEMORE_URL, up to a piece beyond MAKEMORE_BYTES.

    Raises OSError for a failure, for READ_SECONDS without a byte, and after DOWNLOAD_SECONDS.
    """
    outcome: Future[bytes] = Future()
    given_up = Event()

    def fetch() -> None:
        body = b""
        try:
            with urlopen(MAKEMORE_URL, timeout=READ_SECONDS) as response:
                while len(body) < MAKEMORE_BYTES and (piece := response.read1()):
                    if given_up.is_set():
                        return
                    body += piece
            outcome.set_result(body)
        except Exception as error:  # reported anew, because it may hold on to an open socket
            outcome.set_exception(OSError(f"{type(error).__name__}: {error}"))

    # The socket's timeout bounds one read. A server that drips a byte a second, even in its
    # headers, never reaches it: hence a thread, which is left to itself at the deadline.
    worker = Thread(target=fetch, daemon=True)
    worker.start()
    worker.join(DOWNLOAD_SECONDS)
    if not outcome.done():
        given_up.set()
        raise TimeoutError(f"not finished after {DOWNLOAD_SECONDS:g} seconds")
    return outcome.result()


def _store(body: bytes, path: Path) -> None:
    """Puts `body` at `path` in one move, so that no reader ever sees a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        unfinished = Path(folder) / path.name
        unfinished.write_bytes(body)
        os.replace(unfinished, path)


def _verified(body: bytes, origin: str) -> bytes:
    """Returns `body`. Raises CorpusError, naming `origin`, where it is not the lecture's file."""
    found = hashlib.sha256(body).hexdigest()
    if found != MAKEMORE_SHA256:
        raise CorpusError(
            f"{origin} holds {len(body):,} bytes with sha256 {found}, where {MAKEMORE_BYTES:,} "
            f"with {MAKEMORE_SHA256} are expected. {MAKEMORE_ADVICE}"
        )
    return body
