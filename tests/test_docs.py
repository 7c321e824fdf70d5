"""The pages, held to each other and to the code."""

import re
from importlib.util import find_spec
from pathlib import Path

from node.network.disconnect_reasons import SENTENCES

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
README = ROOT / "README.md"
FOLDERS = "benchmarks|crdt|deploy|docs|examples|machines|node|requirements|tests"
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(
    r"(?<![\w./-])gangline(?: --home \S+)?((?: (?!gangline\b)[a-z]+(?![\w.-]))+)([^|&;>#`\n]*)"
)


def linked(page):
    """The files of the repository that a page links."""
    targets = [text for text in LINK.findall(page.read_text()) if "://" not in text]
    return {(page.parent / target).resolve() for target in targets}


def reachable():
    """Every page that a reader gets to from the README, by links alone."""
    found, left = set(), [README]
    while left:
        page = left.pop()
        if page not in found and page.suffix == ".md":
            found.add(page)
            for target in linked(page):
                left += [*target.glob("*.md")] if target.is_dir() else [target]
    return found


def test_every_link_leads_to_a_file():
    broken = {page: [one for one in linked(page) if not one.exists()] for page in reachable()}
    assert not {page: links for page, links in broken.items() if links}


def test_every_file_that_a_page_names_exists():
    missing = []
    for page in reachable() - {ROOT / "CHANGELOG.md"}:
        code = " ".join(CODE.findall(page.read_text()))
        files = re.findall(rf"(?<![\w./-])(?:{FOLDERS})/[\w/.-]+\.[a-z]+\b", code)
        missing += [(page.name, file) for file in files if not (ROOT / file).exists()]
        modules = re.findall(rf"python -m ((?:{FOLDERS})[\w.]*\w)", code)
        missing += [(page.name, module) for module in modules if not find_spec(module)]
    assert not missing


def anchors(page):
    """The names that a link may have after ``#``: the headings, as GitHub spells them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_into_a_page_names_a_heading():
    links = [
        (page, (page.parent / target).resolve() if target else page, anchor)
        for page in reachable()
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text())
    ]
    assert links
    assert not [link for link in links if link[2] not in anchors(link[1])]


def test_every_page_is_reached_from_the_readme():
    pages = {*(ROOT / "docs").rglob("*.md")}
    assert pages
    assert not pages - reachable()


def test_every_word_of_a_link_stands_in_the_table_and_no_other():
    page = (ROOT / "docs" / "membership.md").read_text()
    words = [
        word
        for row in re.findall(r"^\| (`[a-z_` ]+`) \|", page, re.MULTILINE)
        for word in re.findall(r"`([a-z_]+)`", row)
    ]
    assert sorted(words) == sorted(SENTENCES)


def commands_on(page):
    """The words and the options of every ``gangline`` command that a page prints."""
    for code in CODE.findall(page.read_text()):
        for words, rest in COMMAND.findall(code.replace("\\\n", " ")):
            options = re.findall(r" (--[a-z-]+)", rest.partition(" -- ")[0])
            yield words.split(), options


def test_every_printed_command_and_option_exists():
    manual = (ROOT / "docs" / "cli.md").read_text()
    options_of = {
        heading: {*re.findall(r"--[a-z-]+", text)}
        for heading, text in re.findall(
            r"^### gangline ([a-z ]+)$(.*?)(?=^### |\Z)", manual, re.MULTILINE | re.DOTALL
        )
    }
    unknown = []
    for page in reachable() - {ROOT / "docs" / "cli.md", ROOT / "CHANGELOG.md"}:
        for words, options in commands_on(page):
            known = options_of.get(" ".join(words[:2])) or options_of.get(words[0])
            if known is None or not known.issuperset(options):
                unknown.append((page.name, words, options))
    assert not unknown
