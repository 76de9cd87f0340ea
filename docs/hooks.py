"""What the site needs in addition to mkdocs: pages for notebooks and linked files, links."""

import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import Any

import griffe
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

LINK = re.compile(r"(?<=\]\()[^):#\s]+")
# What the pages of the reference document, by full name and, if it is a class, by its own name.
DOCUMENTED = {
    name: full
    for page in Path("docs/reference").glob("*.md")
    for full in re.findall(r"(?m)^::: (\S+)$", page.read_text("utf-8"))
    for name in (full, full.rpartition(".")[2])
    if name == full or name[0].isupper()
}


def on_config(config: Any) -> Any:
    """Put the version and the repository's address into the header."""
    config.site_name += f" {version('keras-mmdense')}"
    asked = ["git", "remote", "get-url", "origin"]
    address = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    if address.startswith("https://"):
        config.repo_url, config.repo_name = address, "repository"
    return config


def target_of(link: str, uri: str) -> str:
    """Return the path, from the repository's root, that a link on a page of the site leads to."""
    outside = uri.startswith(("notebooks/", "repository/"))
    shown = uri.removeprefix("repository/") if outside else f"docs/{uri}"
    return normpath(join(dirname(shown), link))


def page_of(path: str) -> str:
    """Return the page that shows a file of the repository."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path.endswith(".ipynb"):
        return f"{path.removesuffix('.ipynb')}.md"
    return f"repository/{path}" if path.endswith(".md") else f"repository/{path}.md"


def on_files(files: Files, config: Any) -> Files:
    """Add a page for each notebook and each linked file, and for those that these link to."""
    for path in Path("notebooks").glob("*.ipynb"):
        # the outputs that the notebook was saved with: pictures become files, players stay inside
        named = {"unique_key": path.stem}
        content, resources = MarkdownExporter().from_filename(str(path), resources=named)
        files.append(File.generated(config, page_of(str(path)), content=content))
        for name, picture in resources["outputs"].items():
            files.append(File.generated(config, f"notebooks/{name}", content=picture))
    waiting = list(files.documentation_pages())
    while waiting:
        page = waiting.pop()
        for link in LINK.findall(page.content_string):
            path = target_of(link, page.src_uri)
            if (
                path.startswith("docs/")
                or not Path(path).is_file()
                or files.get_file_from_path(page_of(path)) is not None
            ):
                continue
            content = Path(path).read_text("utf-8")
            if not path.endswith(".md"):  # suffixes are names of languages, too
                content = f"# {path}\n\n````{Path(path).suffix[1:]}\n{content}\n````\n"
            linked = File.generated(config, page_of(path), content=content)
            files.append(linked)
            waiting.append(linked)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links that leave docs/, or come from outside, to pages of the site."""
    uri = page.file.src_uri

    def on_site(link: re.Match[str]) -> str:
        path = target_of(link[0], uri)
        return relpath(page_of(path), dirname(uri) or ".") if Path(path).is_file() else link[0]

    return LINK.sub(on_site, markdown)


class Docstrings(griffe.Extension):
    """Name sections as griffe knows them, and link the names that the reference documents."""

    def on_instance(self, *, obj: Any, **_: Any) -> None:
        """Change one docstring."""
        if obj.is_alias or obj.docstring is None:
            return
        text = re.sub(r"(?m)^( *)Example:$", r"\1Examples:", obj.docstring.value)

        def linked(found: re.Match[str]) -> str:
            full = DOCUMENTED.get(found[1])
            return f"[{found[0]}][{full}]" if full else found[0]

        obj.docstring.value = re.sub(r"`([\w.]+)`", linked, text)
