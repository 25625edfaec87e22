"""Check that the data of a resumed run have not changed since it was started."""

from __future__ import annotations

from torch import Tensor

from datasets import BaseDataset
from datasets.digest import changes, digest_dataset
from DOTA_devkit.errors import InputError
from models import Checkpoint


def digest_entry(train_set: BaseDataset, val_set: BaseDataset | None) -> dict[str, Tensor]:
    """Return the digest of the data that checkpoints store."""
    sets = {"train": train_set, "val": val_set}
    return {
        f"{name}_{part}": numbers
        for name, dataset in sets.items()
        if dataset is not None
        for part, numbers in digest_dataset(dataset).items()
    }


def refuse_other_data(
    resume: Checkpoint, train_set: BaseDataset, val_set: BaseDataset | None
) -> None:
    """Check that lists and labels have not changed since the run was started.

    Checkpoints of earlier versions do not say.

    Raises:
        InputError: they differ; the message says in what.
    """
    stored = resume.extras.get("data_digest")
    if stored is None:
        return
    found = []
    for name, dataset in (("train", train_set), ("val", val_set)):
        before = {part: stored.get(f"{name}_{part}") for part in ("ids", "labels")}
        if dataset is None and before["ids"] is not None:
            found.append(f"{name}: the list is gone")
        elif dataset is not None and before["ids"] is None:
            found.append(f"{name}: there was no list")
        elif dataset is not None:
            try:
                found += [f"{name}: {change}" for change in changes(before, dataset)]
            except InputError as error:
                raise InputError(f"{resume.path}: {error}") from error
    if found:
        raise InputError(
            "\n  ".join([f"{resume.path}: the data changed since this run was started:", *found])
            + "\nPut them back to resume it, or start a new run from its weights: --finetune "
            f"{resume.path} --run_dir DIR"
        )


def refuse_other_classes(resume: Checkpoint, dataset: BaseDataset) -> None:
    """Raise an InputError if the data have other classes now than when the run was started."""
    before, now = resume.classes, tuple(dataset.category)
    if before is not None and before != now and resume.extras.get("run", {}).get("own_classes"):
        raise InputError(
            f"{resume.path}: the classes of {dataset.data_dir} changed since this run was started: "
            f"from {', '.join(before)} to {', '.join(now)}. Put them back to resume it, or start a "
            f"new run from its weights: --finetune {resume.path} --run_dir DIR"
        )
