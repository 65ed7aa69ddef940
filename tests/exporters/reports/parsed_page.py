"""An HTML page taken apart, for tests of what is on it."""

from html.parser import HTMLParser


class ParsedPage(HTMLParser):
    """Collects tags, attributes and text, and which tags were left open."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(page: str) -> ParsedPage:
    """Parse a page; every tag has to be closed in its order."""
    parser = ParsedPage()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser
