"""How the site is built: Sphinx reads the Markdown of this folder; `make docs` calls it."""

from __future__ import annotations

import os
import re
import sys
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+[\w./-]+\.md)(?:#[\w-]*)?\)")
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the notebook's tensors are tiny
# myst-nb 1.4 names things that Sphinx is about to rename
warnings.filterwarnings("ignore", category=PendingDeprecationWarning)

project = "msdkit"
author = copyright = "the authors of msdkit"
version = release = metadata.version("msdkit")

extensions = ["myst_nb", "sphinx_copybutton"]
exclude_patterns = ["results/*.json"]

html_theme = "furo"
html_title = "msdkit"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
copybutton_exclude = ".linenos, .gp, .go"

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 4

nb_execution_mode = "auto"  # a notebook without outputs is executed
nb_execution_timeout = 900  # seconds a cell: a busy machine must not end it
nb_execution_raise_on_error = True
nb_output_stderr = "remove"  # warnings of the machine that builds


def prepare(app: Any, docname: str, source: list[str]) -> None:
    """Name files outside of the site."""
    page = Path(app.env.doc2path(docname))
    source[0] = OUTSIDE.sub(lambda found: named(page, found), source[0])


def named(page: Path, found: re.Match[str]) -> str:
    """A link to a page of the repository that is none of the site's, as its path."""
    target = (page.parent / found[2]).resolve()
    if target.is_relative_to(ROOT / "docs") or not target.is_file():
        return found[0]
    return f"{found[1]} (`{target.relative_to(ROOT)}`)"


def inline_math(writer: Any, node: nodes.math) -> None:
    writer.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def block_math(writer: Any, node: nodes.math_block) -> None:
    text = tex2mathml(node.astext()).replace("<math ", '<math display="block" ', 1)
    writer.body.append(f'<div class="math">{text}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> None:
    # MathML, which browsers set themselves: MathJax would come over the network
    app.add_html_math_renderer("mathml", (inline_math, None), (block_math, None))
    app.connect("source-read", prepare)


html_math_renderer = "mathml"
