"""onnxruntime, imported here and nowhere else, so that nothing of it is loaded with its telemetry on. Its errors, in our words.

Its wheel looks up a host and writes a device id and a database of events into the user's cache when it is loaded, unless
ORT_DISABLE_TELEMETRY is set by then.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from realtime.composing.contract import MOST_LETTERS
from realtime.errors import UserError
from realtime.io.graphs.seal import check_seal
from realtime.io.graphs.weights import check_weights
from realtime.reading import read_whole

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime as ort  # the variable is read while this is loaded

ort.set_default_logger_severity(4)  # errors are raised, or said in our words; nothing is printed

__all__ = ["first_line", "open_session", "ort", "run"]

MOST_BYTES = 512 << 20
"""A file that is longer is no model of Antiphon's, and would be read into memory all the same."""


def open_session(
    path: Path, providers: list[Any], threads: int, reuse: bool = True, profile: Path | None = None
) -> ort.InferenceSession:
    """Raises `UserError` where onnxruntime refuses the file. `reuse`: values that are not needed any more give their memory to
    later ones; where all of them are small, that takes a twentieth of the time, and saves little. `profile`: how the name of a
    file begins in which onnxruntime writes how long each operator takes; every call takes several times as long then."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_mem_reuse = reuse
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    options.log_severity_level = 4  # errors are raised, or reported by `notice`; nothing is printed
    data = read_whole(path, MOST_BYTES, "an ONNX file that `python -m export` wrote, and that is yours to read")
    check_seal(path, data)
    check_weights(path, data)
    del data
    try:
        # Without its own fallback: it would print, and go on with other providers.
        return ort.InferenceSession(path, options, providers=providers, enable_fallback=0)
    except Exception as error:  # onnxruntime raises a dozen types that have no base class of their own
        raise UserError(
            f"{path}: onnxruntime {ort.__version__} cannot open it ({first_line(error)}); "
            "give an ONNX file that `python -m export` wrote, whole"
        ) from None


def run(name: str, call: Callable[..., Any], *arguments: Any) -> Any:
    """Run a session. Raises `UserError` where onnxruntime fails."""
    try:
        return call(*arguments)
    except Exception as error:  # of a dozen types
        raise UserError(
            f"model {name}: onnxruntime {ort.__version__} cannot run it ({first_line(error)}); "
            "try --provider cpu, or export it again"
        ) from None


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:MOST_LETTERS]
