"""HTML from Python values: elements that escape their text, tables, and one self-contained page.

Here: how a page is put together and styled (`page.css`). Not here: what a report says (`report`).
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources

VOID = ("meta", "img", "br", "hr")
HTTP = re.compile(r"https?://[^\s<>\"']+[^\s<>\"'.,;:)]")


@dataclass(frozen=True)
class Html:
    """Markup. Every plain text that enters an element is escaped; only this is not."""

    source: str


Part = Html | str


def tag(name: str, /, *parts: Part, **attributes: str | None) -> Html:
    """An element of escaped parts. An attribute that is None is left out; `class_` stands for `class`."""
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    head = "".join(f' {key}="{html.escape(value)}"' for key, value in given.items())
    return Html(f"<{name}{head}>" if name in VOID else f"<{name}{head}>{join(parts).source}</{name}>")


def join(parts: Iterable[Part]) -> Html:
    """Parts one after another."""
    return Html("".join(part.source if isinstance(part, Html) else html.escape(typeset(part)) for part in parts))


def typeset(text: str) -> str:
    """Numbers as printed: a true minus before a digit or ∞; no break inside an interval, 1 − AP or before a %."""
    text = (
        re.sub(r"(?<![\w.)\]–-])-(?=[\d∞.])", "−", text).replace(" %", "\u00a0%").replace("1 − AP", "1\u00a0−\u00a0AP")
    )
    return re.sub(r"\[[^\[\]]{1,40}\]|[<>] [\d−]", lambda found: found[0].replace(" ", "\u00a0"), text)


def paragraphs(texts: Iterable[str], class_: str | None = None) -> Html:
    """Each text as a paragraph."""
    return join(tag("p", text, class_=class_) for text in texts)


def bullets(items: Iterable[Part]) -> Html:
    """Each item as a point of a list; nothing when there is none."""
    points = [tag("li", item) for item in items]
    return tag("ul", *points) if points else Html("")


def verbatim(text: str) -> Html:
    """Text to be typed, exactly as it is."""
    return Html(f"<pre><code>{html.escape(text)}</code></pre>")


def linked(text: str) -> Html:
    """Text in which web addresses are links; the page itself loads nothing from them."""
    parts: list[Part] = []
    end = 0
    for found in HTTP.finditer(text):
        parts += [text[end : found.start()], tag("a", found[0], href=found[0])]
        end = found.end()
    return join([*parts, text[end:]])


def table(header: Sequence[str], rows: Iterable[Sequence[Part]], caption: str = "") -> Html:
    """A table that scrolls sideways on a narrow screen; the first cell of a row is its heading."""
    title = [tag("caption", caption)] if caption else []
    head = tag("thead", tag("tr", *(tag("th", name, scope="col") for name in header)))
    body = tag("tbody", *(_row(row) for row in rows))
    return tag("div", tag("table", *title, head, body), class_="scroll", tabindex="0")


def _row(row: Sequence[Part]) -> Html:
    return tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:]))


def figure(picture: Html, caption: str, *, label: str) -> Html:
    """A drawing with its caption; `label` says what it shows to those who cannot see it."""
    return tag("figure", tag("div", picture, class_="scroll", role="img", aria_label=label), tag("figcaption", caption))


def inline(svg: str, prefix: str, ink: str) -> Html:
    """An SVG file as part of a page: ids apart from those of other figures, `ink` in the colour of the page's text."""
    element = svg[svg.index("<svg") :]
    element = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", element)
    return Html(element.replace(ink, "currentColor"))


def estimate(text: str) -> Html:
    """A number with its interval, or with the words in its place, below it in smaller type."""
    point, *range_ = re.split(r" (?=[\[(])", text, maxsplit=1)
    return join([point, " ", *(tag("span", part, class_="range") for part in range_)])


def words(part: Part) -> Html:
    """What may be as long as a sentence, in a cell of a table: it breaks into lines, and not into letters."""
    return tag("span", part, class_="words")


def png(data: bytes, text: str, *, smooth: bool = False) -> Html:
    """A PNG held inside the page; its pixels stay squares unless it is `smooth`, as one with words in it should be."""
    style = "image-rendering:auto" if smooth else None
    return tag("img", src=f"data:image/png;base64,{base64.b64encode(data).decode()}", alt=text, style=style)


def section(title: str, *parts: Part) -> Html:
    """A part of the page under its heading; nothing when it has no content."""
    content = join(parts)
    return tag("section", tag("h2", title), content) if content.source else content


def page(title: str, *parts: Part) -> str:
    """A whole document that needs nothing from outside itself."""
    style = resources.files("realfake.report").joinpath("page.css").read_text("utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        Html(f"<style>\n{style}</style>"),
    )
    return f"<!doctype html>\n{tag('html', head, tag('body', tag('main', *parts)), lang='en').source}\n"
