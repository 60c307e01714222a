"""How soon the explorer's page is there, and how soon a typed character is on it, in Chromium.

    python benchmarks/explorer.py artifacts/plot/explorer.html

First paint is the browser's own figure (first contentful paint). The delay of a character is the time from the
keystroke to the end of the next frame, in which the text is read, coloured and drawn again: typed at the end of the
text that the page starts with, and at its beginning, after which all of it is read anew.
"""

import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.results import browser_page

OPENED = 5
TYPED = 60
NOTE_DELAYS = """() => {
  globalThis.delays = [];
  byId("text").addEventListener("input", (event) => requestAnimationFrame(() => {
    const channel = new MessageChannel(); // its message comes after the frame is drawn
    channel.port1.onmessage = () => delays.push(performance.now() - event.timeStamp);
    channel.port2.postMessage(null);
  }));
}"""


def main(path: Path) -> None:
    """Measure the page at `path`, and print the figures in milliseconds."""
    with tempfile.TemporaryDirectory() as profile, browser_page(Path(profile)) as page:
        painted = []
        for _ in range(OPENED):
            page.goto(path.resolve().as_uri())
            page.wait_for_timeout(1000)
            painted.append(
                page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN")
            )
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")
        print(f"first contentful paint, median of {OPENED}: {statistics.median(painted):.0f} ms")
        for place, key in (("the end", "Control+End"), ("the beginning", "Control+Home")):
            page.reload()
            page.wait_for_timeout(2000)
            page.evaluate(NOTE_DELAYS)
            page.locator("#text").press(key)
            page.locator("#text").press_sequentially("the cat sat on the mat " * (TYPED // 23), delay=100)
            page.wait_for_timeout(200)
            delays = sorted(page.evaluate("() => delays"))
            median, slow = statistics.median(delays), delays[int(0.95 * len(delays))]
            print(
                f"a character typed at {place}: median {median:.0f} ms, 95% within {slow:.0f} ms, {len(delays)} typed"
            )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "artifacts/plot/explorer.html"))
