"""Sphinx makes HTML of these pages: `make docs`. They read as well on a forge, so no page needs Sphinx."""

project = "colo-proxy"
author = "The colo-proxy authors"
copyright = author
extensions = ["myst_parser"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["README.md", "requirements.txt"]  # README.md is in index.rst
myst_heading_anchors = 4
html_theme = "furo"
html_title = "colo-proxy"
html_copy_source = False
html_show_sphinx = False
