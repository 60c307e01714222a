"""The pictures of a sweep's page in sweeps.md: a sweep of 36 small jobs, and its page in Chromium.

Run `python -m docs.sweep_page` after a change: five minutes on two cores. With the folder of a sweep that has run
already, `python -m docs.sweep_page multirun/…`, it takes the pictures alone.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.results import browser_page

OVERRIDES = (
    "preset=smoke model.cell=rnn,gru model.hidden_size=16,32 optimizer.learning_rate=0.03,0.1,0.3 seed=1,2,3 "
    "train.steps=3000 train.validate_every=300 synthesize.quality_length=0 sweep.plot=none tracking=off"
)
DOCS = Path(__file__).parent
# Of each picture, the elements of the page at its top and its bottom.
PICTURES = {"sweep-table": ("body", "#losses + figure"), "sweep-keys": ("#keys", ".parallel")}


def main() -> None:
    """Run the sweep, unless one is named, and take the pictures."""
    with TemporaryDirectory() as scratch:
        folder = Path(sys.argv[1] if sys.argv[1:] else f"{scratch}/36 jobs")
        if not sys.argv[1:]:
            command = [sys.executable, "-m", "charloom.experiment", "-m", *OVERRIDES.split(), f"out={folder}"]
            subprocess.run(command, check=True)
        with browser_page(Path(scratch) / "profile", viewport={"width": 880, "height": 900}, bypass_csp=True) as page:
            page.goto((folder / "sweep.html").absolute().as_uri())
            page.add_style_tag(
                content="#results { max-height: 13rem !important; } .chart { height: 15rem !important; }"
            )
            for name, ends in PICTURES.items():
                top, bottom = (page.locator(end).first.bounding_box() for end in ends)
                assert top is not None
                assert bottom is not None
                area = {"x": 0, "y": top["y"], "width": 880, "height": bottom["y"] + bottom["height"] - top["y"] + 12}
                page.screenshot(path=DOCS / f"{name}.png", full_page=True, clip=area)


if __name__ == "__main__":
    main()
