"""Runs without plots, each of which takes longer than a small epoch or evaluation."""

from DOTA_devkit.errors import InputError


def draw_no_plots(monkeypatch):
    """Let a run draw neither curves nor precision and recall.

    A training goes on as without matplotlib, and an evaluation as if its plot were drawn.
    """

    def refuse(scores, path):
        raise InputError("not in this test")

    monkeypatch.setattr("training.history.plot_history", lambda rows, path: None)
    monkeypatch.setattr("training.report.plot_evaluation", refuse)
    monkeypatch.setattr("eval.plot_evaluation", lambda scores, path: None)
