"""Writes the generated pages: settings, experiments, commands, run folder, results.

``conf.py`` calls :func:`write_pages` at every build, so that these pages cannot go stale.
``python docs/generated_pages.py`` writes them without building the site.

In the repository these pages do not exist: documents link to what a page is made from, and the
build, through :func:`links_to_pages`, to the page.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from functools import partial
from importlib import import_module
from io import StringIO
from pathlib import Path

import settings_page
from documented_fields import annotations, markdown, texts
from pydantic import BaseModel

from llm_lightning.commands.main import COMMANDS
from llm_lightning.config.experiments import conf_dir, list_experiments
from llm_lightning.presentation.markdown import literal
from llm_lightning.run_format import files, summary

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
# What the aliases of run_format.summary mean, in the reader's words.
_PLAIN = {"Text": "str", "Count": "int", "Positive": "int", "Finite": "float", "Amount": "float"}
_PLAIN |= {"Share": "float", "Metrics": "dict", "Kind": "str", "Split": "str"}
# Pages by what documents link to in the repository.
_PAGES = {
    "conf": "reference/settings",
    "conf/experiment": "reference/experiments",
    "conf/sweep": "reference/experiments#sweeps",
    "conf/hydra/launcher": "reference/experiments#launchers",
    "docs/reference/_run_command.md": "reference/commands",
    "docs/reference/_run_folder.md": "reference/run-folder",
    "llm_lightning/commands/judge.py": "reference/commands#judge",
}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def write_pages(docs: Path = DOCS) -> None:
    """Writes every generated page below a folder of documents; unchanged files keep their date."""
    pages = {
        "reference/settings.md": settings_page.page(),
        "reference/experiments.md": experiments_page(),
        "reference/commands.md": commands_page(),
        "reference/run-folder.md": run_folder_page(),
        **dict(result_pages(docs / "experiments")),
    }
    for name, text in pages.items():
        file = docs / name
        file.parent.mkdir(exist_ok=True)
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def experiments_page() -> str:
    """Returns the list of experiments, sweeps and presets, with the YAML of each."""
    lines = [
        "# Experiments, sweeps and presets",
        "An experiment is a YAML file in `conf/experiment` that is laid over the defaults: "
        "`python -m llm_lightning +experiment=NAME`. Where it repeats something from the book, "
        "`published` holds the book's figures and their source, and a report compares with them.",
        "## Experiments",
        "| name | what it is |\n| --- | --- |\n"
        + "\n".join(f"| `{name}` | {literal(text)} |" for name, text in list_experiments().items()),
    ]
    for title, folder, use in (
        ("Sweeps", "sweep", "Added to an experiment with `-m` and `+sweep=NAME`."),
        ("Launchers", "hydra/launcher", "Chosen for a sweep with `hydra/launcher=NAME`."),
        ("Search", "hydra/sweeper", "Chosen with `hydra/sweeper=NAME`, or by a sweep above."),
    ):
        lines += [f"## {title}", use]
        for file in sorted((conf_dir() / folder).glob("*.yaml")):
            lines += [f"### `{file.stem}`", f"```yaml\n{file.read_text(encoding='utf-8')}```"]
    return "\n\n".join(lines) + "\n"


def commands_page() -> str:
    """Returns the help of every sub-command."""
    lines = [
        (DOCS / "reference" / "_run_command.md").read_text(encoding="utf-8").strip(),
        *(
            f"## {name}\n\n{text[0].upper()}{text[1:]}.\n\n```text\n{_help(name)}\n```"
            for name, text in COMMANDS.items()
        ),
    ]
    return "\n\n".join(lines) + "\n"


def run_folder_page() -> str:
    """Returns what is in a run's folder, and every field of its summary."""
    introduction = (DOCS / "reference" / "_run_folder.md").read_text(encoding="utf-8").strip()
    listing = (files.__doc__ or "").split("::\n", 1)[1]
    entries = re.findall(r"^    (\S.*?)  +(\S.*(?:\n {20,}\S.*)*)", listing, re.MULTILINE)
    rows = [f"| `{name.strip()}` | {markdown(text)} |" for name, text in entries]
    parts = [introduction, "## Files", "| file | content |\n| --- | --- |\n" + "\n".join(rows)]
    fields = "\n".join(_summary_rows(summary.Summary, ""))
    header = "| field | type | meaning |\n| --- | --- | --- |\n"
    return "\n\n".join([*parts, "## Fields of `summary.json`", header + fields]) + "\n"


def _summary_rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """Yields a row a field, and those of the parts that it is made of."""
    for name, field in model.model_fields.items():
        kind = annotations(model)[name]
        meaning = texts(model).get(name) or texts(summary).get(kind, "")
        shown = re.sub(r"\w+", lambda word: _PLAIN.get(word.group(), word.group()), kind)
        shown += "" if field.is_required() else ", optional"
        yield f"| `{prefix}{name}` | {shown.replace('|', 'or')} | {meaning} |"
        for word in re.findall(r"\w+", kind):
            part = getattr(sys.modules[model.__module__], word, None)
            if isinstance(part, type) and issubclass(part, BaseModel):
                inner = {"dict": ".*", "list": "[]"}.get(kind.partition("[")[0], "")
                yield from _summary_rows(part, f"{prefix}{name}{inner}.")


def result_pages(folder: Path) -> Iterator[tuple[str, str]]:
    """Yields what ``experiments/`` says, and nano's card, with links that work on the site."""
    sources = _result_sources()
    for file, name in sources.items():
        text = _LINK.sub(partial(_moved, file, folder, sources), file.read_text(encoding="utf-8"))
        if not text.startswith("# "):
            text = f"# {file.parent.name}: all numbers\n\n{text}"
        if name == "index":
            others = "\n".join(other for other in sources.values() if other != "index")
            text += f"\n```{{toctree}}\n:hidden:\n\n{others}\n```\n"
        yield f"experiments/{name}.md", text


def links_to_pages(text: str, source: Path) -> str:
    """Returns a document with links to generated pages in place of what they are made from.

    Args:
        text: Markdown.
        source: its file, in ``docs``; links are relative to its folder.
    """
    pages = {ROOT / path: page for path, page in _PAGES.items()}
    pages |= {file: f"experiments/{name}" for file, name in _result_sources().items()}

    def linked(link: re.Match[str]) -> str:
        path, _, anchor = link.group(3).partition("#")
        page, _, own_anchor = pages.get((source.parent / path).resolve(), "").partition("#")
        if not path or not page:
            return link.group()
        target = os.path.relpath(DOCS / page, source.parent)
        anchor = anchor or own_anchor
        return f"[{link.group(2)}]({target}.md{'#' + anchor if anchor else ''})"

    return _LINK.sub(linked, text)


def _result_sources() -> dict[Path, str]:
    """The files that pages about results are made from, with the names of these pages."""
    sources = {file: _page_name(file) for file in sorted((ROOT / "experiments").glob("**/*.md"))}
    sources[ROOT / "llm_lightning" / "backbone" / "assets" / "nano" / "README.md"] = "nano-card"
    return sources


def _page_name(file: Path) -> str:
    if file.name != "README.md":
        return f"{file.parent.name}-{file.stem}"
    return "index" if file.parent.name == "experiments" else file.parent.name


def _moved(file: Path, folder: Path, pages: dict[Path, str], link: re.Match[str]) -> str:
    """A link of a file, as it must be in its page in another folder."""
    bang, text, target = link.groups()
    path, _, anchor = target.partition("#")
    if "://" in target or not path:
        return link.group()
    found = (file.parent / path).resolve()
    if found in pages:
        return f"[{text}]({pages[found]}.md{'#' + anchor if anchor else ''})"
    if not found.is_file():
        return text  # a folder: nothing that a page could show
    return f"{bang}[{text}]({os.path.relpath(found, folder)})"


def _help(command: str) -> str:
    module = import_module(f"llm_lightning.commands.{command}")
    columns = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "88"
    try:
        with redirect_stdout(StringIO()) as printed, suppress(SystemExit):
            module.main(["--help"])
    finally:
        os.environ.pop("COLUMNS")
        if columns is not None:
            os.environ["COLUMNS"] = columns
    return printed.getvalue().strip()


if __name__ == "__main__":
    write_pages()
