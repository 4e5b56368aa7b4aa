"""Fixtures that several tests share: a model without music in it, and a small corpus, packed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toycorpus import write_corpus

from models.corpus.pack import Pack, load_pack


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Toy models are computed fastest on one thread, and several processes may run tests side by side."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model of the size "tiny" with random weights: it plays by every rule, and no music."""
    from export.__main__ import main

    path = tmp_path_factory.mktemp("tiny") / "tiny.onnx"
    assert main(["--random", "tiny", "-o", str(path)]) == 0
    return path


@pytest.fixture(scope="session")
def toy_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `toycorpus.write_corpus` writes. Not to be changed: a test that wants another writes its own."""
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def toy_cache(toy_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds the pack of `toy_corpus`."""
    cache = tmp_path_factory.mktemp("cache")
    load_pack(toy_corpus, cache)
    return cache


@pytest.fixture(scope="session")
def toy_pack(toy_corpus: Path, toy_cache: Path) -> Pack:
    """The pack of `toy_corpus`."""
    return load_pack(toy_corpus, toy_cache)
