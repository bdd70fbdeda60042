"""Steps, pipelines and references: how a program becomes a graph, and what its code and inputs are known by."""

from noria.pipelines.code import code_digest
from noria.pipelines.drawing import Pipeline, branch, pipeline, value
from noria.pipelines.model import Failure, Input, Needs, Ref, Retry
from noria.pipelines.secrets import Secret, secret
from noria.pipelines.steps import Step, step

__all__ = [
    "Failure",
    "Input",
    "Needs",
    "Pipeline",
    "Ref",
    "Retry",
    "Secret",
    "Step",
    "branch",
    "code_digest",
    "pipeline",
    "secret",
    "step",
    "value",
]
