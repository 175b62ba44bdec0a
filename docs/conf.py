"""The pages of this project as one site: `make docs`.

Pages are Markdown that a code host shows as it is: what only a site needs, navigation and captions, is added here. Nothing is
fetched from elsewhere, neither while the site is built nor when it is read. Warnings are errors: a link that leads nowhere, a
page that stands in no navigation.
"""

import inspect
import re
import shutil
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from sphinx.application import Sphinx
from sphinx.util.typing import stringify_annotation

import pipelines
from cloudedge import __version__

ROOT = Path(__file__).parents[1]
FRONT = "README"
REFERENCE = "docs/reference"
PUBLIC: tuple[str, ...] = tuple(getattr(pipelines, "__all__", ()))
"""Names that `docs/reference.md` describes; without any there is no such page."""

NAVIGATION = {
    "Guides": [
        "/docs/guide-ml-engineer",
        "/docs/kubeflow",
        "/docs/guide-administrator",
        "/docs/guide-site-engineer",
        "/docs/guide-inspection",
        "/docs/guide-automl",
        "/docs/meta-model",
    ],
    "Extend it": ["/docs/own-model", "/docs/own-fusion-rule", "/docs/own-system"],
    "Look it up": [
        "Overview and words </docs/index>",
        "/docs/how-it-works",
        "/docs/fault-model",
        "/docs/security",
        "/docs/exit-codes",
        "/docs/schemas/README",
        *([f"/{REFERENCE}"] if PUBLIC else []),
    ],
    "Figures": [
        "All figures </benchmarks/results/figures>",
        "/benchmarks/results/training",
        "/benchmarks/results/scale",
        "/benchmarks/results/nudge",
        "/benchmarks/results/automl_search",
        "/benchmarks/results/automl_meta",
    ],
    "The project": ["/CONTRIBUTING", "/CHANGELOG", "/SECURITY"],
}
"""Pages in the order of the side bar, by caption."""

project = "cloudedge"
release = __version__
root_doc = FRONT
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
include_patterns = ["*.md", "docs/**.md", "benchmarks/results/*.md"]
exclude_patterns = [
    # Not to be searched for pages: a virtual environment alone has tens of thousands of files.
    *(path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in ("docs", "benchmarks")),
    "benchmarks/results/fusion.md",  # Their tables are in figures.md.
    "benchmarks/results/detector.md",
    "benchmarks/results/inspection_models.md",
    "benchmarks/results/serving.md",
    *(() if PUBLIC else (f"{REFERENCE}.md",)),
]
myst_heading_anchors = 6
default_role = "code"
"""What docstrings have between single backticks."""

autodoc_default_options = {"members": True, "member-order": "bysource", "exclude-members": "model_config"}
autoclass_content = "both"  # What a class is, and what it is made of.
python_maximum_signature_line_length = 100
napoleon_numpy_docstring = False

html_theme = "furo"
html_theme_options = {
    f"{theme}_css_variables": {
        **dict.fromkeys(("color-brand-primary", "color-brand-content", "color-api-name"), blue),
        "color-highlight-on-target": pale,
    }
    for theme, blue, pale in (("light", "#24608f", "#e6eef7"), ("dark", "#76b0e0", "#1b2a3a"))
}
"""The colours of the drawings and of a run's report."""

html_title = project
html_static_path = ["style"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_domain_indices = False
html_use_index = False

_TITLED = re.compile(r'^```([a-z]+) title="([^"]+)"$', re.MULTILINE)


def _complete(app: Sphinx, page: str, text: list[str]) -> None:
    """Add to a page what only the site has."""
    text[0] = _TITLED.sub(r"```{code-block} \1\n:caption: \2", text[0])
    if page == FRONT:
        text[0] += "".join(_tree(caption, pages) for caption, pages in NAVIGATION.items())
    elif page == REFERENCE:
        text[0] += "".join(_described(name) for name in PUBLIC)


def _tree(caption: str, pages: list[str]) -> str:
    listed = "\n".join(pages)
    return f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{listed}\n```\n"


def _described(name: str) -> str:
    kind = "autoclass" if inspect.isclass(getattr(pipelines, name)) else "autofunction"
    return f"\n```{{eval-rst}}\n.. {kind}:: pipelines.{name}\n```\n"


def _mend(app: Sphinx, what: str, name: str, described: Any, options: Any, lines: list[str]) -> None:
    """Give docstrings the form in which napoleon understands them as they are meant.

    It takes what stands before a colon for a type where something is returned, and of an attribute; ours stand in signatures.
    What fields of documents are and mean is said in the fields.
    """
    if what in ("attribute", "property"):
        lines[:1] = [f": {line}" for line in lines[:1]]
    for before, line in enumerate(lines[1:]):
        if lines[before] == "Returns:":
            lines[before + 1] = f"    : {line.strip()}"
    if inspect.isclass(described) and issubclass(described, BaseModel):
        lines.append("Args:")
        for field, of in described.model_fields.items():
            lines.append(f"    {field} ({stringify_annotation(of.annotation, 'smart')}): {of.description}")


def _sign(app: Sphinx, what: str, name: str, described: Any, options: Any, takes: str, gives: str) -> tuple[str, str]:
    """Let fields stand in their list alone: in a signature their bounds are longer than all else."""
    return ("(**fields)", "") if inspect.isclass(described) and issubclass(described, BaseModel) else (takes, gives)


def _enter(app: Sphinx, failure: Exception | None) -> None:
    """Have the front page where a browser looks for it."""
    if failure is None:
        shutil.copyfile(app.outdir / f"{FRONT}.html", app.outdir / "index.html")


def setup(app: Sphinx) -> None:
    """Have Sphinx call the above."""
    app.connect("source-read", _complete)
    app.connect("autodoc-process-signature", _sign)
    app.connect("autodoc-process-docstring", _mend, priority=400)  # Napoleon's is 500.
    app.connect("build-finished", _enter)
