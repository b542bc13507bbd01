"""The result forms a template may yield as its evaluation."""

from hud.graders.results import EvaluationResult, SubScore

__all__ = ["EvaluationResult", "SubScore"]
