"""Running the checks, and what they found as text and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from DOTA_devkit.doctor.angles import upright_share
from DOTA_devkit.doctor.findings import ERROR, SEVERITIES, WARNING, Finding
from DOTA_devkit.doctor.image_facts import ImageFacts, read_facts
from DOTA_devkit.doctor.lists import set_sizes
from DOTA_devkit.doctor.pixels import size_table
from DOTA_devkit.doctor.sizes import cell_table
from DOTA_devkit.doctor.survey import Survey
from DOTA_devkit.doctor.table import CHECKS

_MAX_SHOWN = 3


@dataclass(frozen=True)
class Diagnosis:
    """What was found in the data.

    Attributes:
        survey: the data.
        findings: by severity, the worst first.
        checked: names of the checks that ran.
    """

    survey: Survey
    findings: tuple[Finding, ...]
    checked: tuple[str, ...]

    @property
    def has_errors(self) -> bool:
        """Whether any finding is an error, which must be fixed before the data are used."""
        return any(finding.severity == ERROR for finding in self.findings)

    def reworded(self, wording: Callable[[str], str]) -> Diagnosis:
        """Return the diagnosis with the texts of its findings as `wording` returns them."""
        return replace(self, findings=tuple(f.reworded(wording) for f in self.findings))

    def headline(self) -> str:
        """Return how many findings there are of each severity."""
        counts = dict.fromkeys(SEVERITIES, 0)
        for finding in self.findings:
            counts[finding.severity] += 1
        return ", ".join(f"{n} {name}{'' if n == 1 else 's'}" for name, n in counts.items())

    def text(self) -> str:
        """Return the findings as text, a few places of each."""
        lines = [f"{len(self.checked)} checks: {self.headline()}"]
        for finding in self.findings:
            lines.append(f"{finding.severity}: {finding.title}: {finding.count_text()}")
            lines += [f"  {place}" for place in finding.places[:_MAX_SHOWN]]
            if finding.count > _MAX_SHOWN:
                lines.append(f"  and {finding.count - _MAX_SHOWN} more")
            lines.append(f"  -> {finding.remedy}")
        return "\n".join(lines)

    def to_json(self) -> str:
        """Return the diagnosis as JSON, with all places."""
        survey = self.survey
        height, width = survey.settings.input_hw
        content = {
            "folder": str(survey.root),
            "checks": list(self.checked),
            "images": set_sizes(survey),
            "image_sizes": dict(size_table(survey)),
            "objects": len(survey.data.names),
            "classes": None if survey.classes is None else list(survey.classes),
            "input_h": height,
            "input_w": width,
            "cells": cell_table(survey),
            "upright_share": round(upright_share(survey), 4),
            "findings": [finding.to_dict() for finding in self.findings],
        }
        return json.dumps(content, indent=1) + "\n"


def examine(survey: Survey) -> Diagnosis:
    """Run all checks for which the survey has what they need.

    Args:
        survey: the data, from `read_survey`.

    Returns:
        What they found.
    """
    facts = read_facts(
        survey.images, list(survey.images), survey.settings.reading, survey.settings.pixels
    )
    given = {
        "": True,
        "pixels": survey.settings.pixels,
        "model": survey.model is not None,
        "results": survey.results is not None,
    }
    names = tuple(name for name, check in CHECKS.items() if given[check.needs])
    return _diagnosis(survey, names, facts)


def examine_labels(survey: Survey) -> Diagnosis:
    """Run the checks of the start of a training, which read no images; without mere notes."""
    short = tuple(name for name, check in CHECKS.items() if check.at_start)
    found = _diagnosis(survey, short, {})
    kept = tuple(f for f in found.findings if f.severity in (ERROR, WARNING))
    return replace(found, findings=kept)


def _diagnosis(
    survey: Survey, names: tuple[str, ...], facts: Mapping[str, ImageFacts]
) -> Diagnosis:
    findings: list[Finding] = []
    for name in names:
        check = CHECKS[name]
        findings += check.run(survey, facts) if check.needs_images else check.run(survey)
    order = list(SEVERITIES)
    findings.sort(key=lambda finding: order.index(finding.severity))
    return Diagnosis(survey, tuple(findings), names)
