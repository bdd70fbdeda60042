"""Imports whatever a life needs, so that the server from which lives are forked has it all; starts no thread."""

import importlib
import pkgutil

import onnxruntime  # noqa: F401
import pandas as pd  # noqa: F401
import pyarrow.parquet  # noqa: F401
import skl2onnx  # noqa: F401
import sklearn.compose
import sklearn.ensemble
import sklearn.impute
import sklearn.linear_model
import sklearn.pipeline
import sklearn.preprocessing
import sklearn.tree  # noqa: F401

import noria

_ELSEWHERE = ("kubernetes", "ray", "migrations", "__main__", "cli.demo", "model_child")

for module in pkgutil.walk_packages(noria.__path__, "noria."):
    if not any(part in module.name for part in _ELSEWHERE):
        importlib.import_module(module.name)

import lives  # noqa: E402, F401 - it needs what is above
