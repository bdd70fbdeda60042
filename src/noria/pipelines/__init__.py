"""Steps, pipelines and references: how a program becomes a graph, and what its code and inputs are known by."""

from noria.pipelines.code import code_digest
from noria.pipelines.drawing import Pipeline, branch, pipeline, value
from noria.pipelines.model import Input, Ref, Retry
from noria.pipelines.steps import Step, step

__all__ = ["Input", "Pipeline", "Ref", "Retry", "Step", "branch", "code_digest", "pipeline", "step", "value"]
