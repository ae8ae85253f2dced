"""What README.md and docs/ tell a reader to type exists: commands, their options, and the files they point to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from wan_pipeline.cli.app import COMMANDS, commands

_ROOT = Path(__file__).parents[2]
_PAGES = [_ROOT / "README.md", *sorted((_ROOT / "docs").glob("*.md"))]
_TYPED = re.compile(r"wan-pipeline((?:[ \t]+(?:\\\n\s*)?[^\s`|#;()]+)*)")
_LINK = re.compile(r"\]\(([^)#:]+)(#[^)]*)?\)")


def _typed() -> Iterator[tuple[str, list[str]]]:
    """Each page's name with the words after the program's, where the first one looks like a command."""
    for page in _PAGES:
        for match in _TYPED.finditer(page.read_text()):
            words = match[1].split()
            if words and re.fullmatch(r"[a-z]+", words[0]):
                yield page.name, words


def test_every_command_that_is_written_down_exists_with_its_options() -> None:
    context, wrong, seen = click.Context(commands), list[str](), set[str]()
    for page, words in _typed():
        if words[0] not in COMMANDS:
            continue  # prose: "wan-pipeline the …"
        command = commands.get_command(context, words[0])
        assert command is not None
        known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
        known |= {"--help", "--debug"}
        given = [name for word in words[1:] for name in re.findall(r"(?<![\w-])--[a-z][a-z-]*", word)]
        wrong += [f"{page}: wan-pipeline {words[0]} {name}" for name in given if name not in known]
        seen |= {words[0]}
    assert wrong == []
    assert seen >= {"demo", "dev", "run", "quote", "report", "reconcile", "export", "alerts", "resolve", "doctor"}


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target, anchor in _LINK.findall(page.read_text()):
        to = page.parent / target
        assert to.exists(), target
        if anchor and to.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", to.read_text(), flags=re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor[1:] in slugs, anchor
