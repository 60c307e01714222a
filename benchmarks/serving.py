"""200 requests from four clients to a served model: errors, times, and whether the same seed gives the same text.

    python benchmarks/serving.py                      # the model of artifacts/
    python benchmarks/serving.py --model model.npz    # or another, as for python -m charloom.serve

Four clients ask at once, each as soon as its last answer is there, for 200 characters after a prompt: MLflow's API
first, then the stream, then the library in this process for comparison. Ten seeds take turns, so that every text is
asked for twenty times.
"""

import json
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
import charloom

REQUESTS, CLIENTS, SEEDS, LENGTH = 200, 4, 10, 200
HEADERS = {"Content-Type": "application/json"}


def main(arguments: list[str]) -> None:
    """Start the server, measure, and end it."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "charloom.serve", "--no-browser", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        processes: list[psutil.Process] = []
        try:
            assert server.stdout is not None
            page = server.stdout.readline().strip()
            seconds = [time.perf_counter() - started]
            address = urlsplit(server.stdout.readline().split()[-1])
            seconds.append(time.perf_counter() - started)
            if not address.port:
                sys.exit("the server has not started")
            print(f"{page}\nthe page is up after {seconds[0]:.1f} s, MLflow's API after {seconds[1]:.1f} s")
            measure(address.port)
            processes = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
            memory = sum(process.memory_info().rss for process in processes) / 2**20
            print(f"{len(processes)} processes, {memory:.0f} MiB of memory")
        finally:
            server.send_signal(signal.SIGTERM)
            ending = time.perf_counter()
            server.wait()
            print(f"ended {time.perf_counter() - ending:.2f} s after SIGTERM, exit code {server.returncode}")
            _, alive = psutil.wait_procs(processes, timeout=1)
            print(f"{len(alive)} of its processes are left")


def measure(port: int) -> None:
    """Ask for the same texts in each way, and print what came of it."""
    model = json.loads(ask(port, "GET", "/model", None)[1])
    prompt = model["characters"][-8:]

    def through_mlflow(seed: int) -> str:
        body = {"inputs": [prompt], "params": {"length": LENGTH, "seed": seed}}
        status, text = ask(port, "POST", "/invocations", body)
        return str(json.loads(text)["predictions"][0]) if status == 200 else f"{status} {text}"

    def streamed(seed: int) -> str:
        status, text = ask(port, "POST", "/stream", {"prompt": prompt, "length": LENGTH, "seed": seed})
        return prompt + text if status == 200 else f"{status} {text}"

    texts: dict[int, set[str]] = defaultdict(set)
    for name, way in (("MLflow's API", through_mlflow), ("the stream", streamed)):
        run(name, way, texts)
    if Path(model["name"]).is_file():
        loaded = charloom.load(model["name"])
        run("the library", lambda seed: loaded.generate(LENGTH, prime=prompt, seed=seed), texts, clients=1)
    print(f"texts of the {SEEDS} seeds: {Counter(len(found) for found in texts.values())[1]} are always the same")


def run(name: str, way: Callable[[int], str], texts: dict[int, set[str]], clients: int = CLIENTS) -> None:
    """Ask 200 times in one way; adds the texts of each seed, and prints the times."""

    def timed(number: int) -> tuple[float, bool]:
        started = time.perf_counter()
        text = way(number % SEEDS)
        texts[number % SEEDS].add(text)
        return time.perf_counter() - started, len(text) == LENGTH + 8

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        answers = list(pool.map(timed, range(REQUESTS)))
    whole = time.perf_counter() - started
    times, errors = sorted(seconds for seconds, _ in answers), sum(not good for _, good in answers)
    print(
        f"{name}: {REQUESTS} requests from {clients} client{'s' if clients > 1 else ''}, {errors} errors, "
        f"{REQUESTS / whole:.0f} per second; median {1000 * statistics.median(times):.1f} ms, "
        f"95% within {1000 * times[int(0.95 * REQUESTS)]:.1f} ms, slowest {1000 * times[-1]:.1f} ms"
    )


def ask(port: int, method: str, path: str, body: object) -> tuple[int, str]:
    """The status and the text of the answer to a request."""
    connection = HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), HEADERS)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


if __name__ == "__main__":
    main(sys.argv[1:])
