"""The links between the pages: each leads to a file and a heading that exist."""

import re

import pytest

from helpers.paths import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("weights/*.md")])
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")


def anchors_of(text):
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    wrong = []
    for target, anchor in LINK.findall(text):
        other = (page.parent / target).resolve() if target else page
        if not other.exists() or not other.is_relative_to(ROOT):
            wrong.append(target)
        elif anchor and anchor not in anchors_of(other.read_text(encoding="utf-8")):
            wrong.append(f"{target}#{anchor}")
    assert not wrong


def test_anchors_are_those_of_github():
    text = "# A page\n```\n# a comment\n```\n## The [link](a.md), `code` and a-dash: 1\n"
    assert anchors_of(text) == {"a-page", "the-link-code-and-a-dash-1"}
