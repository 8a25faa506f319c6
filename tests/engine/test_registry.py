"""Plug-ins by entry point: nothing is loaded before it is named, and errors are for people."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from scsiemu import registry


def install(path: Path, distribution: str, points: str) -> None:
    """A distribution with these entry points, as an installer leaves it."""
    info = path / f"{distribution}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder at the front of the path where distributions can be put, with the modules undone afterwards."""
    before = set(sys.modules)
    kept = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "devtypes"}
    for name in kept:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in set(sys.modules) - before | {n for n in sys.modules if n.partition(".")[0] == "devtypes"}:
        if name.partition(".")[0] in ("devtypes", "plugin_one", "plugin_two", "plugin_broken"):
            sys.modules.pop(name, None)


def test_registry_names_load_nothing(site: Path) -> None:
    """Listing the plug-ins imports none of them."""
    install(site, "one", "[scsiemu.devtypes]\ntestone = plugin_one:Thing\ntesttwo = plugin_two:Thing\n")

    found = registry.names(registry.DEVTYPES)

    assert {"testone", "testtwo"} <= set(found)
    assert "plugin_one" not in sys.modules


def test_registry_load_imports_only_what_is_named(site: Path) -> None:
    """Loading one plug-in leaves the others alone."""
    install(site, "one", "[scsiemu.devtypes]\ntestone = plugin_one:Thing\ntesttwo = plugin_two:Thing\n")
    (site / "plugin_one.py").write_text("class Thing: pass\n")
    (site / "plugin_two.py").write_text("raise RuntimeError\n")

    loaded = registry.load(registry.DEVTYPES, "testone")

    assert loaded.__name__ == "Thing"
    assert "plugin_two" not in sys.modules


def test_registry_load_unknown_name(site: Path) -> None:
    """An unknown name lists the known ones."""
    install(site, "one", "[scsiemu.devtypes]\ntestone = plugin_one:Thing\n")

    with pytest.raises(registry.PluginError, match=r"no 'nothing' \(there are: .*testone"):
        registry.load(registry.DEVTYPES, "nothing")


def test_registry_load_broken_module(site: Path) -> None:
    """A plug-in whose own import fails says why."""
    install(site, "one", "[scsiemu.devtypes]\ntestbroken = plugin_broken:Thing\n")
    (site / "plugin_broken.py").write_text("import no_such_library\n")

    with pytest.raises(registry.PluginError, match="no_such_library"):
        registry.load(registry.DEVTYPES, "testbroken")


def test_registry_load_missing_attribute(site: Path) -> None:
    """A plug-in without the object that its entry point names says so."""
    install(site, "one", "[scsiemu.devtypes]\ntestone = plugin_one:Thing\n")
    (site / "plugin_one.py").write_text("")

    with pytest.raises(registry.PluginError, match="plugin_one:Thing"):
        registry.load(registry.DEVTYPES, "testone")


@pytest.mark.parametrize("module", ["vd", "nowhere"])
def test_registry_load_shadowed_package(site: Path, module: str) -> None:
    """Another package named devtypes before ours, with or without such a module, is named with its place."""
    (site / "devtypes").mkdir()
    (site / "devtypes" / "__init__.py").write_text("")
    (site / "devtypes" / "vd.py").write_text("class Other: pass\n")
    install(site, "scsiemu", f"[scsiemu.devtypes]\nshadowed = devtypes.{module}:VirtualDisk\n")

    with pytest.raises(registry.PluginError, match="another package named 'devtypes'") as caught:
        registry.load(registry.DEVTYPES, "shadowed")

    assert str(site / "devtypes") in str(caught.value)


def test_registry_load_own_package_not_blamed(site: Path) -> None:
    """Our own package without the module is not mistaken for a foreign one."""
    install(site, "scsiemu", "[scsiemu.devtypes]\nabsent = devtypes.absent:Thing\n")

    with pytest.raises(registry.PluginError, match=r"cannot load devtypes\.absent:Thing") as caught:
        registry.load(registry.DEVTYPES, "absent")

    assert "another package" not in str(caught.value)


def test_registry_groups_are_those_of_pyproject() -> None:
    """The groups of plug-ins that the registry names are declared in pyproject."""
    pyproject = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())

    assert {registry.DEVTYPES, registry.IOHANDLERS, registry.TRANSPORTS} <= set(pyproject["project"]["entry-points"])
