"""The set-up: pinned locks without URLs, a Makefile that explains itself, an environment made once, and anew after harm."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
VALIDATOR_LOCK = "requirements-focus-validator.txt"
LOCKS = ("requirements.txt", "requirements-dev.txt", VALIDATOR_LOCK)
_ENTRY = re.compile(
    r"""[A-Za-z0-9._-]+(\[[a-z,0-9-]+\])?==[^ ]+   # one version
    (\ ;\ .+)?                                     # on some Pythons or systems
    (\ \\\n\ {4}--hash=sha256:[0-9a-f]{64})+       # of known files""",
    re.VERBOSE,
)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def _pins(name: str) -> dict[str, list[tuple[Requirement, Version]]]:
    """Package -> its pins (more than one where it depends on the Python's version)."""
    pins: dict[str, list[tuple[Requirement, Version]]] = {}
    for line in (ROOT / name).read_text().splitlines():
        if line and not line.startswith((" ", "#")):
            requirement = Requirement(line.removesuffix("\\").strip())
            (pin,) = requirement.specifier
            assert pin.operator == "==", line
            pins.setdefault(canonicalize_name(requirement.name), []).append((requirement, Version(pin.version)))
    return pins


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_is_pinned_with_hashes_and_no_url(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    entries = re.split(r"\n(?=[^\s])", text.strip())
    assert len(entries) > (25 if name == VALIDATOR_LOCK else 100)
    for entry in entries:
        assert _ENTRY.fullmatch(entry), entry


def test_the_development_lock_is_the_runtime_lock_and_more() -> None:
    development = _pins("requirements-dev.txt")
    for name, pins in _pins("requirements.txt").items():
        assert {version for _, version in pins} <= {version for _, version in development[name]}, name


def test_the_locks_hold_what_pyproject_asks_for() -> None:
    groups = PROJECT["dependency-groups"]
    for lock, wanted in (
        ("requirements.txt", [*PROJECT["project"]["dependencies"], *groups["build"]]),
        ("requirements-dev.txt", groups["dev"]),
        (VALIDATOR_LOCK, groups["focus-validator"]),
    ):
        pins = _pins(lock)
        for requirement in map(Requirement, wanted):
            versions = [version for _, version in pins.get(canonicalize_name(requirement.name), [])]
            assert versions, f"{requirement} is not in {lock}: make lock"
            assert all(version in requirement.specifier for version in versions), f"{requirement} in {lock}: make lock"


def test_every_dependency_says_what_it_is_here_for() -> None:
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    groups = PROJECT["dependency-groups"]
    for requirement in [
        *PROJECT["project"]["dependencies"],
        *groups["build"],
        *groups["dev"],
        *groups["focus-validator"],
    ]:
        (line,) = [line for line in lines if line.strip().startswith(f'"{requirement}"')]
        assert re.search(r",\s+# \S.{6,}", line), f"no reason given: {line.strip()}"


def test_the_makefile_explains_each_target_without_setting_anything_up(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    done = subprocess.run(
        ["make"], cwd=tmp_path, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True
    )
    explained = re.findall(r"^  ([a-z]+) +\S.*$", done.stdout, re.MULTILINE)
    assert sorted(explained) == ["bench", "check", "clean", "demo", "dev", "help", "lock", "soak", "test"]
    assert [each.name for each in tmp_path.iterdir()] == ["Makefile"]


def test_workspace_yaml_names_the_location_that_pyproject_names() -> None:
    from dagster._core.workspace.load_target import WorkspaceFileTarget

    (origin,) = WorkspaceFileTarget(paths=[str(ROOT / "workspace.yaml")]).create_origins()
    project = PROJECT["tool"]["dg"]["project"]
    assert origin.location_name == project["code_location_name"]
    assert origin.loadable_target_origin.module_name == project["code_location_target_module"]


# --- .ci/venv, with a stand-in for uv: the real installers take a minute and the network ---

_STAND_IN = """#!/bin/sh
echo "$*" >> uv.log
if [ -e uv.breaks ]; then exit 1; fi
case "$*" in
  venv*) mkdir -p .venv/bin && ln -s {python} .venv/bin/python ;;
  *--editable*) : > .venv/bin/wan-pipeline && chmod +x .venv/bin/wan-pipeline ;;
  *--require-hashes*) if [ -e uv.dies ]; then kill -9 $PPID; fi ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "check out"  # with a space, as happens
    (folder / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "venv", folder / ".ci")
    for name in (*LOCKS, "pyproject.toml"):
        (folder / name).write_text("a==1\n")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "uv").write_text(_STAND_IN.format(python=sys.executable))
    (tools / "uv").chmod(0o755)
    yield folder


def _set_up(checkout: Path, lock: str = LOCKS[0], path: str | None = None) -> tuple[int, list[str], str]:
    """Exit status, what the installer was called for, what was said."""
    search = path or f"{checkout.parent / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/bin"
    log = checkout / "uv.log"
    log.unlink(missing_ok=True)
    done = subprocess.run([".ci/venv", lock], cwd=checkout, env={"PATH": search}, capture_output=True, text=True)
    return done.returncode, log.read_text().splitlines() if log.exists() else [], done.stderr


def test_the_environment_is_made_once_and_again_when_its_lock_changed(checkout: Path) -> None:
    status, calls, _ = _set_up(checkout)
    assert (status, len(calls)) == (0, 3)  # venv, the lock, this package
    assert "--require-hashes" in calls[1]
    assert _set_up(checkout) == (0, [], "")
    (checkout / LOCKS[0]).write_text("a==2\n")
    status, calls, _ = _set_up(checkout)
    assert (status, len(calls)) == (0, 2)  # into the same .venv
    (checkout / "pyproject.toml").write_text("b\n")
    status, calls, _ = _set_up(checkout)
    assert status == 0
    assert ["--editable" in call for call in calls] == [True]  # perhaps another entry point; the packages stand
    assert _set_up(checkout) == (0, [], "")


def test_the_runtime_needs_nothing_where_development_is_installed_but_not_the_other_way_round(checkout: Path) -> None:
    _set_up(checkout, LOCKS[0])
    assert len(_set_up(checkout, LOCKS[1])[1]) == 2
    assert _set_up(checkout, LOCKS[0]) == (0, [], "")
    assert _set_up(checkout, LOCKS[1]) == (0, [], "")
    (checkout / "pyproject.toml").write_text("b\n")
    assert len(_set_up(checkout, LOCKS[0])[1]) == 1
    assert _set_up(checkout, LOCKS[1]) == (0, [], "")
    (checkout / LOCKS[0]).write_text("a==2\n")  # and perhaps not what the development lock wants
    assert len(_set_up(checkout, LOCKS[0])[1]) == 2
    assert len(_set_up(checkout, LOCKS[1])[1]) == 2


def test_an_interrupted_install_is_started_afresh(checkout: Path) -> None:
    (checkout / "uv.dies").touch()
    status, _, _ = _set_up(checkout)
    assert status != 0
    (checkout / "uv.dies").unlink()
    (checkout / ".venv" / "half-a-package").touch()
    status, calls, _ = _set_up(checkout)
    assert (status, len(calls)) == (0, 3)
    assert not (checkout / ".venv" / "half-a-package").exists()


def test_a_checkout_that_was_moved_gets_a_new_environment(checkout: Path) -> None:
    _set_up(checkout)
    moved = checkout.rename(checkout.with_name("elsewhere"))
    status, calls, _ = _set_up(moved)
    assert (status, len(calls)) == (0, 3)


def test_an_environment_whose_python_is_gone_is_made_anew(checkout: Path) -> None:
    _set_up(checkout)
    (checkout / ".venv/bin/python").unlink()
    (checkout / ".venv/bin/python").symlink_to("/nonexistent/python")
    status, calls, _ = _set_up(checkout)
    assert (status, len(calls)) == (0, 3)


def test_without_a_fitting_python_it_says_which_are(checkout: Path) -> None:
    old = checkout.parent / "old"
    old.mkdir()
    for name, text in (("python3", 'echo "Python 3.9.2"; [ "$1" = --version ]'), ("dirname", 'echo "${1%/*}"')):
        (old / name).write_text(f"#!/bin/sh\n{text}\n")
        (old / name).chmod(0o755)
    for name in ("cat", "cmp", "rm", "sh"):
        (old / name).symlink_to(shutil.which(name) or name)
    status, calls, said = _set_up(checkout, path=str(old))
    assert (status, calls) == (2, [])
    assert "needs Python 3.11" in said
    assert "Python 3.9.2" in said
