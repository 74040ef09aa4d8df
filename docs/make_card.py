"""Print the model card: its head, and the attributions of what the weights were trained on.

Usage: python docs/make_card.py HEAD.md [MANIFEST.csv ...] [--levels MANIFEST.csv ...] > card.md
       python docs/make_card.py [HEAD.md [MANIFEST.csv ...]] --into BUNDLE [--report REPORT.json ...]

Rows of the split `train` without a non-commercial licence are counted and named. In the head {n}, {hours} and {minutes}
stand for the number of recordings, their length, and their length by kind; {n_rendered} and {minutes_rendered} for
those of renders, which are counted apart (column `origin`, or `rendered`). --levels names what the table of
levels was made of (recipes/mini/levels.py).

--into writes the card into a bundle, below what the Hugging Face hub reads of it, and corrects its checksum; without a
HEAD.md the card that the bundle has stays, and what --report adds is put into its head: the figures of the model
itself in reports of `masktools evaluate --json`, or in those that docs/model_report.py keeps (--keep).
"""

import argparse
import csv
from collections import defaultdict
from pathlib import Path

FREE = {"CC0-1.0", "Public Domain"}
ATTRIBUTIONS = """
## Attributions

The recordings that the weights were trained on, mixed to mono at 22.05 kHz and cut to excerpts. Licence texts: CC-BY-x
and CC-BY-SA-x at https://creativecommons.org/licenses/ (by or by-sa, then the version); CC0-1.0 at
https://creativecommons.org/publicdomain/zero/1.0/.
"""

OF_LEVELS = """
## Attributions of the table of levels

The recordings that tell how loud the bands above the model's are (`levels.safetensors`), at their own rate and in all
their channels. Licences as above.
"""


def rows_of(paths):
    """Return the rows that were trained on."""
    rows = []
    for path in paths:
        with Path(path).open(newline="", encoding="utf-8") as file:
            rows += [row for row in csv.DictReader(file) if row["split"] == "train" and row.get("nc", "0") != "1"]
    return rows


def is_rendered(row):
    """Return whether a row says that it is no recording."""
    return row.get("rendered") == "1" or row.get("origin", "real") not in ("real", "")


def length_s(rows):
    """Return the length of rows, as far as they say it."""
    return sum(float(row.get("duration_s") or 0.0) for row in rows)


def grouped(rows, *columns):
    """Return rows by the values of some columns, sorted."""
    groups = defaultdict(list)
    for row in rows:
        groups[tuple(row.get(column) or "" for column in columns)].append(row)
    return sorted(groups.items())


def credit(licence, author, rows):
    """Return the line of one author under one licence."""
    links = sorted({row["link"] for row in rows if row.get("link")}) if licence not in FREE else []
    files = sorted({(row.get("original_file") or row["path"]).rsplit("/", 1)[-1] for row in rows})
    names = f": {', '.join(files)}" if licence not in FREE and not links and len(files) <= 6 else ""
    said = f" ({' '.join(f'<{link}>' for link in links)})" if links else ""
    owner = author or "the repository"
    return f"- {licence or 'no licence given'}, {owner}{names}: {len(rows)} excerpt{'s' * (len(rows) > 1)}{said}"


def credits_of(rows):
    """Return who made the recordings, repository by repository."""
    lines = []
    for (repository, commit), part in grouped(rows, "source_repo", "source_commit"):
        where = f"https://github.com/{repository} at commit {commit[:12]}; " if repository and commit else ""
        stated = sorted({row["licence_stated_in"] for row in part if row.get("licence_stated_in")})
        told = f" The licence is stated in {', '.join(stated)}." if where and stated and len(stated) <= 4 else ""
        lines.append(f"\n### {repository or 'Recordings of no named source'}\n\n{where}{len(part)} excerpts.{told}\n")
        lines += [credit(licence, author, own) for (licence, author), own in grouped(part, "licence", "author")]
    return "".join(f"{line}\n" for line in lines)


def card_of(head, manifests, of_levels):
    """Return head and attributions."""
    rows = rows_of(manifests)
    real = [row for row in rows if not is_rendered(row)]
    rendered = [row for row in rows if is_rendered(row)]
    seconds = {kind: length_s(part) for (kind,), part in grouped(real, "kind")}
    figures = {
        "{n}": str(len(real)),
        "{hours}": f"{sum(seconds.values()) / 3600:.1f}",
        "{minutes}": ", ".join(f"{kind} {length / 60:.0f}".strip() for kind, length in seconds.items()),
        "{n_rendered}": str(len(rendered)),
        "{minutes_rendered}": f"{length_s(rendered) / 60:.0f}",
    }
    text = head.read_text(encoding="utf-8")
    for name, value in figures.items():
        text = text.replace(name, value)
    if manifests:
        text += f"\n{ATTRIBUTIONS}{credits_of(rows)}"
    return text + (OF_LEVELS + credits_of(rows_of(of_levels)) if of_levels else "")


def main(arguments=None):
    """Print the card, or write it into a bundle."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("head", type=Path, nargs="?", metavar="HEAD.md")
    parser.add_argument("manifests", nargs="*", metavar="MANIFEST.csv")
    parser.add_argument("--levels", nargs="+", default=[], metavar="MANIFEST.csv")
    parser.add_argument("--into", type=Path, metavar="BUNDLE")
    parser.add_argument("--report", type=Path, nargs="+", default=[], metavar="REPORT.json")
    args = parser.parse_args(arguments)
    if args.into is None and (args.head is None or args.report):
        parser.error("a HEAD.md is wanted, or --into BUNDLE")
    card = None if args.head is None else card_of(args.head, args.manifests, args.levels)
    if args.into is None:
        print(card, end="")
        return
    from masktools.core.errors import MasktoolsError
    from masktools.pipeline.bundles import renew_card

    try:
        renew_card(args.into, card, args.report)
    except MasktoolsError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
