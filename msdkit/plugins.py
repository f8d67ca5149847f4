"""Plugins of users: imported from files, modules and installed packages, and said aloud where a
folder names them."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from msdkit.errors import ConfigError
from msdkit.progress import console

_source: Path | None = None  # what names the plugins that come
_trusted = True


@contextmanager
def named_by(source: Path) -> Iterator[None]:
    """Inside, it is told which code is about to be imported from where, because the file `source`
    names it."""
    global _source
    before, _source = _source, source
    try:
        yield
    finally:
        _source = before


@contextmanager
def trusting(yes: bool) -> Iterator[None]:
    """Inside, if not, no plugin is imported that is not yet: ConfigError names it."""
    global _trusted
    before, _trusted = _trusted, yes and _trusted
    try:
        yield
    finally:
        _trusted = before


def is_trusting() -> bool:
    """Whether plugins are imported that are not yet."""
    return _trusted


def is_imported(plugin: str, folder: Path = Path()) -> bool:
    """Whether a plugin, named as for `load_plugins`, needs no import any more."""
    name = _file_module((folder / plugin).resolve()) if plugin.endswith(".py") else plugin
    return name in sys.modules


def load_plugins(plugins: list[str], folder: Path = Path()) -> None:
    """Import the user's plugins: dotted modules, or `.py` files relative to `folder`."""
    for plugin in plugins:
        if is_imported(plugin, folder):
            continue
        if not _trusted:
            raise ConfigError(
                f"plugin '{plugin}' is not imported, which would run its code; --trust imports it"
            )
        if _source is not None:
            console().print(f"importing {_place(plugin, folder)}, which {_source} names")
        try:
            _load_file(folder / plugin) if plugin.endswith(".py") else _load_module(plugin)
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(f"plugin '{plugin}': {type(error).__name__}: {error}") from error


def _place(plugin: str, folder: Path) -> str:
    """Where a plugin's code lies, in words; nothing is imported for that."""
    if plugin.endswith(".py"):
        return str((folder / plugin).resolve())
    _look_here()
    spec = importlib.util.find_spec(plugin.partition(".")[0])
    found = (spec.origin, *(spec.submodule_search_locations or [])) if spec else ()
    where = next(filter(None, found), None)
    return f"the module {plugin} of {where}" if where else f"the module {plugin}"


def _load_module(name: str) -> None:
    _look_here()
    importlib.import_module(name)


def _look_here() -> None:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)


def _file_module(path: Path) -> str:
    """A name for a file's module, the same in every process: fingerprints hold it."""
    place = hashlib.blake2b(str(path).encode(), digest_size=6).hexdigest()
    return f"msdkit_plugin_{path.stem}_{place}"


def _load_file(path: Path) -> None:
    path = path.resolve()
    if not path.is_file():
        raise ConfigError(f"plugin file {path} does not exist")
    name = _file_module(path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


@cache
def load_entry_points() -> None:
    """Import the plugins of installed packages: the entry-point group `msdkit.plugins`."""
    for entry in importlib.metadata.entry_points(group="msdkit.plugins"):
        try:
            entry.load()
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(
                f"entry point '{entry.name}' ({entry.value}) of group msdkit.plugins: "
                f"{type(error).__name__}: {error}"
            ) from error
