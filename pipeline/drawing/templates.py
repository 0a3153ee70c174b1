"""Owns the template environment of pages: filters, strictness and the shared style sheet."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

STYLE = Path(__file__).with_name("style.css")


def page_template(folder: Path, template: str) -> Template:
    """Load a template by the name of its file in a folder, or make one of a text.

    An undefined name is an error.
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
