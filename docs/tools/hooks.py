"""MkDocs hooks: files of the repository that pages link to become pages of the site.

The pages are also read where they lie, so they link to `../CHANGELOG.md` or to a source file. On
the site such a link leads to a page of its own that holds the file.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
DOCS = "docs"
FOLDER = "repository"
LINK = re.compile(r"(\]\()([^)#\s]+)")
LANGUAGES = {".py": "python", ".toml": "toml", ".json": "json", ".yml": "yaml"}


def outside(markdown: str, place: str) -> Iterator[str]:
    """Yields the files outside docs/ that a page links to, as paths from the root.

    Args:
        markdown: the page.
        place: its path from the root.
    """
    for _, target in LINK.findall(markdown):
        path = posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
        if "://" not in target and not path.startswith(f"{DOCS}/") and (ROOT / path).is_file():
            yield path


def page_of(path: str) -> str:
    """Returns the site's page for a file of the repository.

    Example:
        >>> page_of("CHANGELOG.md"), page_of("setup.py")
        ('repository/CHANGELOG.md', 'repository/setup.py.md')
    """
    return f"{FOLDER}/{path}" if path.endswith(".md") else f"{FOLDER}/{path}.md"


def rewritten(markdown: str, place: str, page: str) -> str:
    """Returns a page whose links out of docs/, and from outside into docs/, lead to the site.

    Args:
        markdown: the page.
        place: where it lies in the repository, from the root.
        page: where it lies in the site.
    """

    def link(match: re.Match[str]) -> str:
        start, target = match.groups()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
        if "://" in target or not (ROOT / path).is_file():
            return match[0]
        inside = path.startswith(f"{DOCS}/")
        to = path.removeprefix(f"{DOCS}/") if inside else page_of(path)
        return start + posixpath.relpath(to, posixpath.dirname(page) or ".")

    return LINK.sub(link, markdown)


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages of linked files, and of those that these link to."""
    waiting = [
        path
        for file in files.documentation_pages()
        for path in outside(file.content_string, f"{DOCS}/{file.src_uri}")
    ]
    done: set[str] = set()
    while waiting:
        path = waiting.pop()
        if path in done:
            continue
        done.add(path)
        content = (ROOT / path).read_text("utf-8")
        if path.endswith(".md"):
            waiting += outside(content, path)
            content = rewritten(content, path, page_of(path))
        else:
            language = LANGUAGES.get(Path(path).suffix, "text")
            content = f"# {path}\n\n````{language}\n{content}\n````\n"
        files.append(File.generated(config, page_of(path), content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Rewrites the links of a page of docs/ that lead out of it."""
    uri = page.file.src_uri
    if uri.startswith(f"{FOLDER}/"):
        return markdown
    return rewritten(markdown, f"{DOCS}/{uri}", uri)
