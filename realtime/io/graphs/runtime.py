"""onnxruntime, imported here and nowhere else, so that nothing of it is loaded with its telemetry on.

Its wheel looks up a host and writes a device id and a database of events into the user's cache when it is loaded, unless
ORT_DISABLE_TELEMETRY is set by then.
"""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime as ort  # the variable is read while this is loaded

ort.set_default_logger_severity(4)  # errors are raised, or said in our words; nothing is printed

__all__ = ["ort"]
