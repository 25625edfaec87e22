"""The doctor of a data folder: finds what is wrong with it before a training does.

    read_survey  ->  examine (walks CHECKS)  ->  Diagnosis.text, to_json, diagnosis_page

A kind of finding is a module of this package and a row of `table.CHECKS`. Statistics of labels
belong to `DOTA_devkit.stats`, the rules of the DOTA server to `DOTA_devkit.submit`.
"""

from DOTA_devkit.doctor.diagnosis import Diagnosis, examine, examine_labels
from DOTA_devkit.doctor.findings import ERROR, NOTE, SEVERITIES, WARNING, Example, Finding
from DOTA_devkit.doctor.page import diagnosis_page
from DOTA_devkit.doctor.reading import Paths, model_classes, read_survey
from DOTA_devkit.doctor.survey import FROM_RELEASE, IdList, ModelClasses, Settings, Survey
from DOTA_devkit.doctor.table import CHECKS, Check

__all__ = [
    "CHECKS",
    "ERROR",
    "FROM_RELEASE",
    "NOTE",
    "SEVERITIES",
    "WARNING",
    "Check",
    "Diagnosis",
    "Example",
    "Finding",
    "IdList",
    "ModelClasses",
    "Paths",
    "Settings",
    "Survey",
    "diagnosis_page",
    "examine",
    "examine_labels",
    "model_classes",
    "read_survey",
]
