"""Make the records in data/evidence/: python data/build_evidence.py [STUDY] [--corpus NAME].

Every study on every corpus by default. A run that was killed resumes with its next cell.
"""

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from helpers import data, evidence


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the studies that the lessons quote.")
    parser.add_argument("study", nargs="?", choices=list(evidence.STUDIES))
    parser.add_argument("--corpus", choices=evidence.CORPORA)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for corpus in [arguments.corpus] if arguments.corpus else evidence.CORPORA:
        try:
            data.load_names(corpus)
        except data.CorpusError as error:
            print(f"skipping {corpus}: {error}")
            continue
        for name in [arguments.study] if arguments.study else evidence.STUDIES:
            path = evidence.record_path(name, corpus)
            print(f"{name} on {corpus} -> {path}", flush=True)
            evidence.run(name, corpus, save=path)


if __name__ == "__main__":
    main()
