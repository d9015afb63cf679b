#!/usr/bin/env python3
"""Crawls a web site into one store and goes on where it was stopped, be it by kill -9.

    python examples/crawl.py https://docs.python.org/3/ --out crawl --limit 200
    python examples/crawl.py https://docs.python.org/3/ --out crawl --limit 400    # 200 more

What has been fetched, the links found and the queue of what is to come are three containers of one store. Each
page changes all of them in one transaction: whenever the program dies, no page is lost, none is fetched twice.
"""

import argparse
import html.parser
import urllib.parse
import urllib.request

from pyrsistence import Store


class Parser(html.parser.HTMLParser):
    """Collects the title and the targets of links."""

    def __init__(self):
        super().__init__()
        self.title, self.targets, self.in_title = "", [], False

    def handle_starttag(self, tag, attributes):
        self.in_title = tag == "title"
        target = dict(attributes).get("href")
        if tag == "a" and target:
            self.targets.append(target)

    def handle_data(self, text):
        if self.in_title:
            self.title += text.strip()

    def handle_endtag(self, tag):
        self.in_title = False


def fetch(url, site):
    """((title or error, length), links to the same site, without repetitions)."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            if answer.headers.get_content_type() != "text/html":
                return (answer.headers.get_content_type(), 0), []
            content = answer.read()
    except (OSError, ValueError) as error:  # URLError is an OSError
        return (f"error: {error}", 0), []
    parser = Parser()
    parser.feed(content.decode("utf-8", "replace"))
    found = (urllib.parse.urldefrag(urllib.parse.urljoin(url, target)).url for target in parser.targets)
    return (parser.title, len(content)), list(dict.fromkeys(target for target in found if target.startswith(site)))


def crawl(store, start, limit):
    site = start.rpartition("/")[0] + "/"
    pages = store.dict("pages")  # URL -> (title, length); None while it waits in the queue
    links = store.dict("links")  # URL -> URLs
    queue = store.list("queue")
    if not pages:
        with store.transaction():
            pages[start] = None
            queue.append(start)
    while queue and len(links) < limit:
        url = queue[0]
        page, targets = fetch(url, site)  # before the transaction: others could not write meanwhile
        with store.transaction(durable=False):  # a kill loses nothing; a power failure, the last pages
            del queue[0]
            pages[url] = page
            links[url] = targets
            for target in targets:
                if target not in pages:
                    pages[target] = None
                    queue.append(target)
        print(len(links), url, flush=True)


def most_linked(store, count=5):
    counts = {}
    for targets in store["links"].values():
        for target in targets:
            counts[target] = counts.get(target, 0) + 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:count]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("start", help="URL of the first page; links to what lies beside or below it are followed")
    arguments.add_argument("--out", default="crawl", help="directory of the store")
    arguments.add_argument("--limit", type=int, default=100, help="pages in all")
    options = arguments.parse_args()
    with Store(options.out) as store:
        crawl(store, options.start, options.limit)
        print(f"{len(store['links'])} pages fetched, {len(store['queue'])} in the queue; most linked to:")
        for url, count in most_linked(store):
            title = (store["pages"][url] or ("not fetched yet", 0))[0]
            print(f"{count:6} {url}  {title}")


if __name__ == "__main__":
    main()
