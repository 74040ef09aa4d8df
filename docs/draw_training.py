"""Draw the loss curves of training runs from their metrics.csv files, the parts of a resumed run one after the other.

Usage: python docs/draw_training.py PICTURE.png NAME=metrics.csv[,metrics.csv...] ...
"""

import csv
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

WANTED = (
    *("loss", "l1", "mel", "roughness"),
    *("valid_25", "valid_gap", "valid_rows", "valid_full", "valid_full_conditioned", "valid_l1", "valid_mel"),
)


def curves(paths):
    """Return name -> {step: value} of the metrics in some files; later files take precedence."""
    found = {}
    for path in paths:
        with Path(path).open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                for name in WANTED:
                    if row.get(name):
                        found.setdefault(name, {})[int(row["step"])] = float(row[name])
    return found


def main(picture, *runs):
    """Draw one panel a run."""
    figure, axes = plt.subplots(1, len(runs), figsize=(5 * len(runs), 3.6), squeeze=False)
    for axis, run in zip(axes[0], runs, strict=True):
        name, _, paths = run.partition("=")
        for metric, points in curves(paths.split(",")).items():
            steps = sorted(points)
            style = {"lw": 0.8, "alpha": 0.5} if not metric.startswith("valid") else {"lw": 1.6, "marker": ".", "ms": 4}
            axis.plot(steps, [points[step] for step in steps], label=metric.replace("_", " "), **style)
        axis.set(title=name, xlabel="step")
        axis.legend(fontsize=7)
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
