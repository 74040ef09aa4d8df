"""Fill the tables of docs/speed.md and draw its pictures from what `masktools bench --json` wrote.

Usage: python docs/make_speed.py NAME=FILE.json ...

Between the lines <!-- bench NAME --> and <!-- end --> of docs/speed.md goes what FILE.json holds, and
docs/pictures/speed-NAME.png shows it.
"""

import re
import sys
from pathlib import Path

from masktools.benchmark.measurements import Benchmark
from masktools.benchmark.run import draw, to_markdown

PAGE = Path(__file__).parent / "speed.md"
PICTURES = Path(__file__).parent / "pictures"


def filled(page, name, found):
    """Return the page with the tables of one benchmark where its name stands."""
    place = re.compile(rf"(<!-- bench {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not place.search(page):
        sys.exit(f"{PAGE} has no line <!-- bench {name} -->")
    body = to_markdown(found).partition("\n")[2].strip()  # the page has headings of its own
    return place.sub(lambda match: f"{match[1]}\n{body}\n\n{match[2]}", page)


def main(pairs):
    """Fill in and draw one benchmark after the other."""
    page = PAGE.read_text(encoding="utf-8")
    for pair in pairs:
        name, _, path = pair.partition("=")
        found = Benchmark.from_json(Path(path).read_text(encoding="utf-8"))
        page = filled(page, name, found)
        if any(found.of(subject) for subject in ("stages", "jobs", "peers")):
            (PICTURES / f"speed-{name}.png").write_bytes(draw(found))
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) < 2 or any("=" not in pair for pair in sys.argv[1:]):
        sys.exit(__doc__)
    main(sys.argv[1:])
