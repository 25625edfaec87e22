"""Runs without plots, each of which would take longer than an epoch of a test."""

from DOTA_devkit.errors import InputError


def draw_no_plots(monkeypatch):
    """Let a run draw neither curves nor precision and recall, as without matplotlib."""

    def refuse(scores, path):
        raise InputError("not in this test")

    monkeypatch.setattr("training.history.plot_history", lambda rows, path: None)
    monkeypatch.setattr("training.report.plot_evaluation", refuse)
