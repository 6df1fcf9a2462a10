"""A page as a test reads it."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """Elements, what a browser would fetch for them, and the texts between them."""

    def __init__(self, text: str):
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.headings: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [
            value for name, value in attrs if name.split(":")[-1] in ("src", "href", "srcset")
        ]

    def handle_data(self, data):
        self.texts.append(data)
        if self.get_starttag_text() == "<h2>" and data.strip():
            self.headings.append(data)
