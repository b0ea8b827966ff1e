"""Sphinx with MyST: the best kept of the Markdown site builders.

Of the alternatives, MkDocs itself has had no release since August 2024, and Zensical is at 0.1.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # for generated_pages.py, beside this file
sys.path.insert(0, str(HERE.parent))

import generated_pages  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402

import llm_lightning  # noqa: E402

project = "llm_lightning"
author = "the authors of llm_lightning"
version = release = llm_lightning.__version__

extensions = ["myst_nb", "sphinx_copybutton", "sphinx_design"]
exclude_patterns = ["_build", "README.md", "reference/_*.md"]
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3
# The tests run the notebook; the page shows the outputs that it was saved with.
nb_execution_mode = "off"

html_theme = "furo"
html_title = f"llm_lightning {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
highlight_language = "none"
html_show_sourcelink = False
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True

generated_pages.write_pages(HERE)


def setup(app: Sphinx) -> None:
    """Points links at generated pages, which only exist on the site."""
    app.connect("source-read", _link_to_pages)


def _link_to_pages(app: Sphinx, docname: str, source: list[str]) -> None:
    file = Path(app.env.doc2path(docname))
    source[0] = generated_pages.links_to_pages(source[0], file)
