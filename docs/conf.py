"""The documentation as a site: the project's own Markdown pages, as they are read on GitHub, and the Python reference.

    make docs

The source folder is the root of the repository (`Makefile` says so), so that links between pages are the same here
and there.
"""

from __future__ import annotations

import dataclasses
import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from docutils import nodes
from pygments.lexers.special import TextLexer
from sphinx import addnodes

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import headway  # noqa: E402  (found only by the line above)
from headway.settings import entries, limits  # noqa: E402

SOURCE = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Source"]
DECISIONS = "docs/adr/README"
_ALIAS = re.compile(r"TypeAliasForwardRef\('(\w+)'\)")

project = "Headway"
author = "the Headway contributors"
release = version = headway.__version__
project_copyright = author

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**.md", "benchmarks/*.md", "examples/*.md", "testbed/*.md"]
# not looked into at all
exclude_patterns = [".*", "build", "demo-report", "case-study-report", "tests", ".github", "**/__pycache__"]

myst_enable_extensions = ["colon_fence", "fieldlist"]
myst_heading_anchors = 4
myst_fence_as_directive: list[str] = []

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
autodoc_default_options = {"members": True, "undoc-members": True}
autodoc_preserve_defaults = True
autodoc_type_aliases = {
    name: name for name in ("AnyArray", "Float32", "Float64", "Int8", "Int64", "JsonValue", "Label", "Data")
}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
default_role = "code"

smartquotes_action = "D"  # dashes alone: much of what stands in quotes is to be typed
html_theme = "furo"
html_title = f"Headway {release}"
html_extra_path = ["site/index.html"]  # index.html, which leads to docs/index.html
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
html_static_path = ["site/headway.css"]
html_css_files = ["headway.css"]


def list_decisions(app: Any, page: str, source: list[str]) -> None:
    """The index of decisions links to each of them; for the site they are its children, too."""
    if page == DECISIONS:
        source[0] += "\n```{toctree}\n:hidden:\n:glob:\n\n0*\n```\n"


def link_to_folders(app: Any, doctree: nodes.document) -> None:
    """A link to a folder leads to it in the repository; any other that leads nowhere stays an error."""
    here = (ROOT / app.env.docname).parent
    for node in list(doctree.findall(addnodes.pending_xref)):
        folder = here / node["reftarget"]
        if node["reftype"] == "myst" and folder.is_dir():
            address = f"{SOURCE}/tree/main/{os.path.relpath(folder, ROOT)}"
            node.replace_self(nodes.reference("", "", *node.children, refuri=address, internal=False))


def read_as_plain_text(app: Any, kind: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Our docstrings are plain English: stars and bars are no mark-up, indented lines are code, and what is said of an
    argument or an error begins a paragraph."""
    made: list[str] = []
    in_code = False
    for line in lines:
        if line.startswith("    "):
            if not in_code:
                made += ["::", ""]
            in_code = True
            made.append(line)
        else:
            in_code = in_code and not line
            if re.match(r"\w+(, \w+)*: |Raises ", line):
                made.append("")
            parts = re.split(r"(`+[^`]*`+)", line)
            made.append(
                "".join(part if part.startswith("`") else re.sub(r"[*|\\]", r"\\\g<0>", part) for part in parts)
            )
    lines[:] = made


def shorten_signature(
    app: Any, kind: str, name: str, thing: Any, options: Any, arguments: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Array types by their names, as in the source; defaults that a function makes as dots."""
    if arguments is not None:
        arguments = _ALIAS.sub(r"\1", arguments).replace("<factory>", "...")
    if returned is not None:
        returned = _ALIAS.sub(r"\1", returned)
    return arguments, returned


def describe_settings(app: Any, kind: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Settings are declared with a sentence each; add these to the class's docstring."""
    if kind != "class" or not dataclasses.is_dataclass(thing):
        return
    declared = [field for field in dataclasses.fields(thing) if "setting" in field.metadata]
    for entry in entries(thing) if declared else ():
        bounds = limits(entry.setting)
        lines += ["", f":param {entry.name}: {entry.setting.doc}" + (f" ({bounds})" if bounds else "")]


def setup(app: Any) -> None:
    for language in ("acl", "conf", "nft"):  # mosquitto's access lists and settings, rules of a firewall
        app.add_lexer(language, TextLexer)
    app.connect("source-read", list_decisions)
    app.connect("doctree-read", link_to_folders)
    app.connect("autodoc-process-signature", shorten_signature)
    app.connect("autodoc-process-docstring", describe_settings)
    app.connect("autodoc-process-docstring", read_as_plain_text)
