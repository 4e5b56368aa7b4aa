"""The GPU path on a stand-in for the CUDA runtime, which computes on the CPU and keeps CUDA's rules of capture."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the tiny model is made with torch (pip install '.[train]')")

from realtime.io.graphs.runtime import ort

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT.parent / "shared" / "gpu" / "fakecuda"
if not SOURCE.is_dir() or shutil.which("g++") is None:
    pytest.skip("the stand-in for CUDA, or a compiler for it, is not here", allow_module_level=True)
if importlib.util.find_spec("nvidia") is not None:
    pytest.skip(
        "the CUDA runtime itself is installed, and would be loaded in place of the stand-in", allow_module_level=True
    )
if "CUDAExecutionProvider" not in ort.get_available_providers() or sys.platform != "linux":
    pytest.skip("this onnxruntime has no CUDA provider", allow_module_level=True)

STEPS = """
import json, sys
import numpy as np
from realtime.io.graphs.stepper import Stepper

path, provider = sys.argv[1:]
stepper = Stepper.load(path, provider, slots=8)
said = {"provider": stepper.provider, "notice": stepper.notice}
cpu = Stepper.load(path, "cpu", slots=8)
random = np.random.default_rng(1)
differences = []
for step in range(24):  # three times around the ring
    event, held, noise = np.arange(10) % 3, random.random(256) < 0.1, random.random(6)
    sampling = np.tile([1.0, 0.0, 1.0], (6, 1))
    for one in (stepper, cpu):
        one.step(event, held, np.zeros(128), np.zeros(337), sampling, noise)
    differences.append(float(np.abs(stepper.last_logits - cpu.last_logits).max()))
print(json.dumps({**said, "differences": differences}))
"""


@pytest.fixture(scope="module")
def cuda(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in, built."""
    folder = tmp_path_factory.mktemp("cuda") / "fakecuda"
    shutil.copytree(SOURCE, folder, copy_function=shutil.copyfile)
    built = subprocess.run(["bash", "build.sh"], cwd=folder, capture_output=True, text=True)
    if built.returncode:
        pytest.skip(f"the stand-in cannot be built here: {built.stderr[-200:]}")
    return folder


def steps(cuda: Path, model: Path, provider: str, **env: str) -> dict[str, object]:
    """What a process of its own says that plays on the stand-in; it prints nothing else."""
    ran = subprocess.run(
        [sys.executable, "-c", STEPS, str(model), provider],
        env={
            **os.environ,
            "LD_LIBRARY_PATH": str(cuda),
            "PYTHONPATH": str(ROOT),
            "FAKECUDA_COMPUTE": "1",
            "FAKECUDA_QUIET": "1",
            **env,
        },
        cwd=cuda,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.splitlines()) == 1, ran.stdout
    said: dict[str, object] = json.loads(ran.stdout)
    return {**said, "not computed": sorted(set(re.findall(r"^UNEMULATED (.*)$", ran.stderr, re.MULTILINE)))}


def test_the_first_steps_are_those_of_the_cpu(cuda: Path, tiny_model: Path) -> None:
    """The captures at load run the model, and must leave nothing in the empty history."""
    said = steps(cuda, tiny_model, "cuda")
    assert (said["provider"], said["notice"]) == ("cuda", None)
    if said["not computed"]:
        pytest.skip(f"the stand-in for CUDA does not compute all kernels of the step graph: {said['not computed']}")
    differences = said["differences"]
    assert isinstance(differences, list) and max(differences) < 1e-3


def test_auto_takes_what_is_faster_and_says_so(cuda: Path, tiny_model: Path) -> None:
    said = steps(cuda, tiny_model, "auto")
    told = re.fullmatch(
        r"a step takes (\d+\.\d\d) ms on the GPU, (\d+\.\d\d) ms on the CPU: the (GPU|CPU) plays", str(said["notice"])
    )
    assert told is not None, said
    gpu_ms, cpu_ms, plays = float(told[1]), float(told[2]), told[3]
    assert plays == {"cuda": "GPU", "cpu": "CPU"}[str(said["provider"])]
    assert gpu_ms == cpu_ms or plays == ("GPU" if gpu_ms < cpu_ms else "CPU")


@pytest.mark.parametrize("provider", ["cuda", "auto"])
def test_a_card_that_cannot_take_a_step_is_not_taken(cuda: Path, tiny_model: Path, provider: str) -> None:
    said = steps(cuda, tiny_model, provider, FAKECUDA_FAIL="K:1:209")  # no kernel image for this device
    assert said["provider"] == "cpu"
    assert str(said["notice"]).startswith("CUDA cannot be used (")
