"""What is wrong with a page: read with the standard library, no browser."""

from html.parser import HTMLParser

VOID = {"meta", "br", "hr", "img", "col", "link", "input"}


class Checker(HTMLParser):
    """Collects faults, all text, the names of all tags, and all that would be fetched."""

    def __init__(self, page: str):
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)
        self.close()
        self.faults += [f"<{tag}> is not closed" for tag in self.open]

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        given = dict(attrs)
        if len(given) < len(attrs):
            self.faults.append(f"<{tag}> names an attribute twice")
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given[name] for name in ("href", "src") if name in given]

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes nothing")

    def handle_data(self, data):
        self.text.append(data)


def check(page: str) -> Checker:
    """Asserts what holds for every report."""
    found = Checker(page)
    assert not found.faults, found.faults[:3]
    assert len(found.ids) == len(set(found.ids))
    inner = {link[1:] for link in found.links if link.startswith("#")}
    assert inner <= set(found.ids)
    assert not {link for link in found.links if ":" in link or link.startswith("//")}
    assert not {"script", "link", "iframe", "object", "image", "foreignobject"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert "@import" not in page and "url(http" not in page
    return found
