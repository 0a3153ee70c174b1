"""Owns how a page is made from its template: what templates may do, and the style sheet that pages share."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

STYLE = Path(__file__).with_name("style.css")


def page_template(folder: Path, template: str) -> Template:
    """Load a template by the name of its file in a folder, or make one of a text.

    A name that a page lacks is an error, never an empty place.
    """
    environment = Environment(
        loader=FileSystemLoader([folder, STYLE.parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    if template.endswith(".j2"):
        return environment.get_template(template)
    return environment.from_string(template)
