"""The folders `last/` and `best/` of a run: the student, and all that the next step depends on."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msdkit.errors import DataError
from msdkit.failures import writing
from msdkit.io.files import recover_folder, replace_folder, whole_folder
from msdkit.io.seals import check, seal
from msdkit.parallel import each, from_main, is_main, rank
from msdkit.training.seeding import RandomState, rng_state
from msdkit.training.tree import load_tree, save_tree

STATE = "state.safetensors"


class TrainingState:
    """Saves and restores the parts of a training run; its folders are always whole.

    Of several processes each must save and restore: the main one writes what all have gathered, and
    each keeps its own random state.

    parts: {name: what has `state_dict` and `load_state_dict`}, restored in this order; save_model
    writes the student for inference.
    """

    def __init__(
        self, folder: Path, save_model: Callable[[Path], None], parts: Mapping[str, Any]
    ) -> None:
        self.folder, self.save_model, self.parts = folder, save_model, dict(parts)

    def save_best(self) -> None:
        """Write `best/`: the student alone."""
        self._write("best")

    def save_last(self) -> None:
        """Write `last/`: the student, and what it takes to go on."""
        state = {name: part.state_dict() for name, part in self.parts.items()}
        self._write("last", {**state, "rng": each(rng_state())})

    def _write(self, name: str, state: dict[str, Any] | None = None) -> None:
        """A folder with the student and the state, made aside and then put in its place."""
        made, final = self.folder / f".{name}.partial", self.folder / name

        def begin() -> None:
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir(parents=True)

        def finish() -> None:
            if state is not None:
                save_tree(made / STATE, state)
            seal(made)
            replace_folder(made, final)

        try:
            with writing(final):
                from_main(begin)
                self.save_model(made)
                from_main(finish)
        except Exception:  # a full disk has better use for it
            if is_main():
                shutil.rmtree(made, ignore_errors=True)
            raise

    def restore(self) -> RandomState:
        """Continue from `last/`, if it is there. The state that random numbers go on from, to be
        set before the first step: what is imported or built until then draws some."""
        if not from_main(self._recover):
            return rng_state()
        for path in (self.folder / "last").iterdir():
            check(path)
        now, state = rng_state(), load_tree(self.folder / "last" / STATE)
        for name, part in self.parts.items():
            if name in state:  # else an earlier version wrote it
                part.load_state_dict(state[name])
        return state["rng"][rank()] if rank() < len(state["rng"]) else now

    def _recover(self) -> bool:
        """Mend what a kill has left; whether there is anything to go on from."""
        for name in ("last", "best"):
            recover_folder(self.folder / name)
        return (self.folder / "last" / STATE).exists()


def batches_per_step(folder: Path) -> int | None:
    """Of how many batches each step of the run in a folder is made; None for a new run."""
    path = whole_folder(folder / "last") / STATE
    if not path.exists():
        return None
    try:
        return load_tree(path, tensors=False)["trainer"]["batches"]
    except KeyError:
        message = f"{path}: an earlier version wrote it; delete {folder} to start anew"
        raise DataError(message) from None
