"""Old names still work, and say which are the new ones."""

from __future__ import annotations

import importlib
import re
import sys
import warnings
from pathlib import Path

import pytest

import msdkit
from msdkit.deprecated import MOVED

# All that the reference of before named, whatever the table says; but `msdkit.sweep.sweep`, since
# `msdkit.sweep` is the function now
PROMISED = [
    "msdkit.config_files.load_raw",
    "msdkit.distiller.Distiller",
    "msdkit.errors.ConfigError",
    "msdkit.errors.DataError",
    "msdkit.errors.MsdkitError",
    "msdkit.errors.TrainingError",
    "msdkit.experiment.Experiment",
    "msdkit.feature_store.FeatureStore",
    "msdkit.feature_store.FeatureStoreWriter",
    "msdkit.models.base.Model",
    "msdkit.models.masking.Masking",
    "msdkit.processors.base.Processor",
    "msdkit.registry.Registry",
    "msdkit.report.write_report",
    "msdkit.runs.run",
    "msdkit.saved_model.SavedModel",
    "msdkit.saved_model.load",
    "msdkit.study.compare",
    "msdkit.terms.Term",
    "msdkit.testing.check_dataset",
    "msdkit.testing.check_loss",
    "msdkit.testing.check_masking",
    "msdkit.testing.check_metric",
    "msdkit.testing.check_model",
    "msdkit.testing.check_processor",
    "msdkit.testing.check_weighting",
    "msdkit.types.Batch",
    "msdkit.types.Example",
    "msdkit.types.Modality",
    "msdkit.types.ModelOutput",
    "msdkit.types.Sequence",
    "msdkit.types.StepOutput",
    "msdkit.types.View",
    "msdkit.types.WeightingInput",
    "msdkit.types.default_views",
    "msdkit.types.known_views",
    "msdkit.validation.validate",
    "msdkit.weightings.base.Weighting",
]


def import_by_path(path: str) -> object:
    """What `from MODULE import NAME` gives."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("old", PROMISED)
def test_what_the_reference_promised_is_still_there(old: str) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert callable(import_by_path(old))
    assert bool(told) == (old in MOVED)


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_an_old_name_is_the_new_object(old: str, new: str) -> None:
    told = re.escape(f"{old} is now {new}; the next release drops the old name")
    with pytest.warns(DeprecationWarning, match=f"^{told}$") as warned:
        assert import_by_path(old) is import_by_path(new)
    assert len(warned) == 1


@pytest.mark.parametrize("old", MOVED)
def test_the_warning_points_at_the_line_that_imports(old: str) -> None:
    module, _, name = old.rpartition(".")
    code = compile(f"\n\nfrom {module} import {name}", "plugin.py", "exec")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        exec(code, {"__name__": "plugin"})
    assert {(w.filename, w.lineno) for w in told} == {("plugin.py", 3)}


def test_every_way_to_import_a_module_that_is_gone() -> None:
    import msdkit.feature_store
    import msdkit.feature_store as renamed
    from msdkit import feature_store

    assert msdkit.feature_store is renamed is feature_store
    assert importlib.util.find_spec("msdkit.feature_store") is not None
    with pytest.warns(DeprecationWarning, match=r"is now msdkit\.FeatureStore;"):
        assert renamed.FeatureStore is msdkit.FeatureStore


@pytest.mark.parametrize("module", ["msdkit.terms", "msdkit.types", "msdkit.runs"])
def test_a_name_that_never_was_is_missing(module: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{module}' has no attribute 'Nothing'"):
        import_by_path(f"{module}.Nothing")


def test_sweep_is_the_function_and_no_module() -> None:
    assert callable(msdkit.sweep)
    assert "msdkit.sweep" not in sys.modules
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("msdkit.sweep")


def test_a_stand_in_hides_no_module_and_no_name_of_today() -> None:
    files = {path.stem for path in Path(msdkit.__file__).parent.iterdir()}
    for module in {old.rpartition(".")[0] for old in MOVED} - {"msdkit.runs", "msdkit.types"}:
        assert module.removeprefix("msdkit.") not in {*files, *msdkit.__all__}
