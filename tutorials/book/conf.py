"""What Sphinx reads. Nothing in the book comes from the network, and everything works from a folder."""

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

import minigrad

project, author = "minigrad", "the minigrad course"
version = release = minigrad.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
nb_execution_mode = "off"  # the lessons have been run before
nb_code_prompt_show, nb_code_prompt_hide = "Show the code", "Hide the code"
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 4
exclude_patterns = ["_static"]
suppress_warnings = ["misc.highlighting_failure"]  # of csv, which Pygments doesn't know
html_theme, html_title = "furo", "minigrad"
html_css_files = ["style.css"]
html_show_search_summary = False  # it would fetch the pages, which browsers refuse in a folder
html_copy_source = html_show_sphinx = html_show_copyright = False
html_math_renderer = "mathml"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autoclass_content = "both"
add_module_names = False
pygments_style, pygments_dark_style = "friendly", "github-dark"


def inline(self, node):
    """A formula as MathML, which browsers draw by themselves."""
    self.body.append(convert(node.astext()))
    raise SkipNode


def block(self, node):
    """A formula of its own, one row for each of its lines."""
    latex = node.astext().replace("{aligned}", "{align*}")  # the name that the converter knows
    self.body.append(f'<div class="math">{convert(latex, display="block")}</div>')
    raise SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
