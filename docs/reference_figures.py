"""Compare what `make repro` has left under artifacts/ with the figures in reference_figures.json.

Run `python docs/reference_figures.py --write` to keep new ones, after a change that is meant to change them.
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs/reference_figures.json"
FIGURES = ("smooth_loss", "bits_per_char", "validation_nats_per_char")
FILES = ("gradcheck/errors.json", "train/history.csv", "train/model.npz", "synthesize/sample.txt")


def read(artifacts: Path) -> dict[str, Any]:
    """The figures of a result and the sha256 of the files that hold what was computed."""
    metrics = json.loads((artifacts / "train/metrics.json").read_text(encoding="utf-8"))
    hashes = json.loads((artifacts / "track/result.json").read_text(encoding="utf-8"))["files"]
    return {**{name: metrics[name] for name in FIGURES}, "sha256": {name: hashes[name] for name in FILES}}


def compare(found: dict[str, Any], reference: dict[str, Any]) -> str:
    """One line that says whether the reference figures were met to the last bit, and what differs where not."""
    figures = ", ".join(f"{name} {found[name]}" for name in FIGURES)
    if found == reference:
        return f"The same as the reference figures to the last bit: {figures}."
    differing = [name for name in FILES if found["sha256"][name] != reference["sha256"][name]]
    expected = ", ".join(str(reference[name]) for name in FIGURES)
    return (
        f"Not the reference figures, those of the bundled story and the default params.yaml: {figures} "
        f"(reference: {expected}); other bytes in {', '.join(differing)}. See docs/reproducibility.md."
    )


def main() -> None:
    """Compare and print, or write with --write; without a whole result there is nothing to compare."""
    if not (ROOT / "artifacts/track/result.json").exists():
        return
    found = read(ROOT / "artifacts")
    if "--write" in sys.argv[1:]:
        REFERENCE.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(compare(found, json.loads(REFERENCE.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
