"""The generated pages are written, and links lead somewhere with and without them."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def generated_pages() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS)
        import generated_pages

        yield generated_pages


@pytest.fixture(scope="module")
def written(generated_pages: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every generated page."""
    folder = tmp_path_factory.mktemp("docs")
    generated_pages.write_pages(folder)
    return folder


@pytest.fixture(scope="module")
def documents(written: Path) -> list[Path]:
    """The documents of the repository, without pages that an earlier build left there."""
    made = {DOCS / file.relative_to(written) for file in written.rglob("*.md")}
    files = [*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    return sorted(set(files) - made)


def targets(text: str) -> list[tuple[str, str]]:
    """Path and anchor of every relative link outside code."""
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.M | re.S)
    links = [link for link in LINK.findall(text) if "://" not in link]
    return [(path, anchor) for path, _, anchor in (link.partition("#") for link in links)]


def anchors(text: str) -> set[str]:
    """The anchors that a forge gives to headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


def test_every_page_is_written(written: Path) -> None:
    pages = {str(file.relative_to(written)) for file in written.rglob("*.md")}
    reference = {"settings", "experiments", "commands", "run-folder"}
    assert {f"reference/{name}.md" for name in reference} <= pages
    for folder in (ROOT / "experiments").glob("*/README.md"):
        assert f"experiments/{folder.parent.name}.md" in pages
    assert {"experiments/index.md", "experiments/nano-card.md"} <= pages
    for page in pages:
        assert (written / page).read_text(encoding="utf-8").startswith("# "), page


def test_text_in_angle_brackets_is_shown(written: Path) -> None:
    for page in ("settings", "experiments"):
        text = (written / "reference" / f"{page}.md").read_text(encoding="utf-8")
        text = re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.M | re.S)
        assert not re.search(r"<\w", text), page
        assert "data.path=&lt;" in text, page


def test_models_are_sorted_by_size(written: Path) -> None:
    text = (written / "reference" / "settings.md").read_text(encoding="utf-8")
    models = re.findall(r"^\| `(nano|gpt2_\w+)`(?: \(default\))? \| [\d.]+[MB] ", text, re.M)
    assert models == ["nano", "gpt2_small", "gpt2_medium", "gpt2_large", "gpt2_xl"]


def test_links_lead_somewhere_in_the_repository(documents: list[Path]) -> None:
    known = set(documents)
    num_links = 0
    for document in documents:
        for path, anchor in targets(document.read_text(encoding="utf-8")):
            found = Path(os.path.normpath(document.parent / path)) if path else document
            where = f"{document.relative_to(ROOT)}: {path}#{anchor}"
            assert found.exists(), where
            if found.suffix == ".md":
                assert found in known or DOCS not in found.parents, f"{where} is generated"
            if anchor:
                assert anchor in anchors(found.read_text(encoding="utf-8")), where
            num_links += 1
    assert num_links > 50


def test_links_lead_to_pages_on_the_site(
    generated_pages: ModuleType, written: Path, documents: list[Path]
) -> None:
    generated = {file.relative_to(written) for file in written.rglob("*.md")}
    linked = set()
    for document in documents:
        if DOCS not in document.parents or document == DOCS / "README.md":
            continue
        text = generated_pages.links_to_pages(document.read_text(encoding="utf-8"), document)
        for path, anchor in targets(text):
            found = Path(os.path.normpath(document.parent / path)) if path else document
            page = found.relative_to(DOCS) if DOCS in found.parents else None
            where = f"{document.relative_to(ROOT)}: {path}#{anchor}"
            assert page in generated or found.is_file(), where
            assert not found.name.startswith("_"), f"{where} is part of a generated page"
            linked.add(page)
    assert {Path("reference/settings.md"), Path("experiments/lora.md")} <= linked


def test_index_files_list_their_pages() -> None:
    for index in DOCS.glob("*/index.md"):
        if index.parent.name == "experiments":  # generated
            continue
        text = index.read_text(encoding="utf-8")
        toctree = re.search(r"```\{toctree\}\n:hidden:\n\n(.*?)```", text, re.S)
        assert toctree, index
        listed = [Path(path).stem for path, _ in targets(text)]
        if index.parent.name == "reference":  # some are generated
            assert len(listed) == len(toctree[1].split())
        else:
            assert sorted(listed) == sorted(toctree[1].split()), index
