"""Checks a built site: links inside it lead somewhere, and no page asks anything of the network.

    python docs/tools/check_site.py site

Addresses of other sites are listed, not asked. Exit code 1 if something is wrong.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser fetches by itself, unlike an <a>.
FETCHED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src"}
NOT_FETCHED = {"canonical", "prev", "next", "edit"}
IN_STYLES = re.compile(r"""(?:url\(\s*['"]?|@import\s+['"])((?:https?:)?//[^'")\s]+)""")


class Page(HTMLParser):
    """The links and anchors of a page.

    Args:
        text: its HTML.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collects one tag."""
        given = dict(attrs)
        self.anchors |= {given[name] or "" for name in ("id", "name") if name in given}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")
        address = given.get(FETCHED.get(tag, ""))
        if address and given.get("rel") not in NOT_FETCHED:
            self.fetched.append(address)


def problems(site: Path) -> Iterator[str]:
    """Yields a line for each link that leads nowhere and each request to another site.

    Args:
        site: the folder.
    """
    pages = {path: Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        where = path.relative_to(site)
        for address in page.fetched:
            if urlsplit(address).netloc:
                yield f"{where}: fetches {address}"
        if path.name == "404.html":  # served from any place: its links count from the root
            continue
        for address in (*page.links, *page.fetched):
            fault = _fault(address, path, pages)
            if fault:
                yield f"{where}: {fault}"
    for style in site.rglob("*.css"):
        for address in IN_STYLES.findall(style.read_text("utf-8")):
            yield f"{style.relative_to(site)}: fetches {address}"


def _fault(address: str, path: Path, pages: dict[Path, Page]) -> str | None:
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return None
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path.resolve()
    if target.is_dir():
        target /= "index.html"
    if not target.is_file():
        return f"{address} leads nowhere"
    anchor, page = unquote(parts.fragment), pages.get(target)
    if anchor and page is not None and anchor not in page.anchors:
        return f"{address}: no anchor {anchor}"
    return None


def elsewhere(site: Path) -> list[str]:
    """Returns the addresses of other sites that pages link to.

    Args:
        site: the folder.
    """
    links = {
        address
        for path in site.rglob("*.html")
        for address in Page(path.read_text("utf-8")).links
        if urlsplit(address).netloc
    }
    return sorted(links)


def main(argv: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    if len(argv) != 1 or not Path(argv[0], "index.html").is_file():
        print("check_site: give the folder of a built site, as in site", file=sys.stderr)
        return 2
    site = Path(argv[0]).resolve()
    found = list(problems(site))
    print("\n".join(["links to other sites, not asked:", *elsewhere(site)]))
    for line in found:
        print(line, file=sys.stderr)
    print(f"{len(list(site.rglob('*.html')))} pages, {len(found)} faults")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
