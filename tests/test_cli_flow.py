"""The stages one after the other, as a person types them, and what each leaves."""

import csv
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import charloom
from tests.project import CHARACTERS, RESULTS, Ended, Project, end

SMOKE = ("preset=smoke", "gradcheck.hidden_size=8", "gradcheck.workers=1")
STAGES = ("prepare", "baseline", "gradcheck", "train", "synthesize", "evaluate")
FILES = {
    "prepare": ("ids.npy", "parameters.json", "summary.json", "vocabulary.json"),
    "baseline": ("metrics.json", "parameters.json"),
    "gradcheck": ("errors.csv", "errors.json", "parameters.json", "step_sweep.csv"),
    "train": (*RESULTS, "parameters.json"),
    "synthesize": ("metrics.json", "parameters.json", "quality.json", "sample.txt"),
    "evaluate": ("metrics.json", "parameters.json"),
}
DATA, GRADIENT = 3, 6

# The gradient check with a backward pass that has one wrong entry, in the gradient of b.
_WRONG_GRADIENT = """
    import sys
    from pathlib import Path

    from charloom.core.cells.rnn import RNN
    from charloom.adapters.command import exit_code
    from charloom.adapters.configuration import load
    from charloom.stages import gradcheck

    backward = RNN.backward

    def wrong(self, params, grads):
        da, dz = backward(self, params, grads)
        da[..., 3] *= 1.0005
        return da, dz

    RNN.backward = wrong

    def work():
        config = load(sys.argv[1:])
        gradcheck.run(config, Path(config.inp), Path(config.out))

    if __name__ == "__main__":  # the processes of the check import this file
        sys.exit(exit_code(work))
"""


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory, _prepared: Project) -> tuple[Project, dict[str, Ended]]:
    """A fresh project in which the stages have run one after the other, and what they said."""
    project = _prepared.copy_to(tmp_path_factory.mktemp("flow") / "a project")
    return project, {stage: project.stage(stage, *SMOKE) for stage in STAGES}


def _json(project: Project, name: str) -> Any:
    return json.loads((project.root / "artifacts" / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_leaves_its_files_and_no_others(flow: tuple[Project, dict[str, Ended]], stage: str) -> None:
    assert sorted(flow[0].files(f"artifacts/{stage}")) == sorted(["SHA256SUMS", *FILES[stage]])


def test_prepare_says_how_much_there_is_of_what(flow: tuple[Project, dict[str, Ended]]) -> None:
    project, said = flow
    summary = _json(project, "prepare/summary.json")
    distinct = len(set(project.corpus.read_text(encoding="utf-8")))
    validation = CHARACTERS // 10
    assert summary["characters"] == CHARACTERS
    assert summary["vocabulary_size"] == distinct == len(_json(project, "prepare/vocabulary.json"))
    assert (summary["train_characters"], summary["validation_characters"]) == (CHARACTERS - validation, validation)
    assert said["prepare"].output == (
        f"data/corpus.txt: {CHARACTERS:,} characters, {distinct} distinct; "
        f"{CHARACTERS - validation:,} to train on, {validation} to validate\n"
    )


def test_the_gradient_check_passes_and_prints_its_table(flow: tuple[Project, dict[str, Ended]]) -> None:
    project, said = flow
    errors = _json(project, "gradcheck/errors.json")
    assert errors["passed"] is True
    for methods in (errors, errors["large_weights"]):
        for method in ("central", "complex_step"):
            assert methods[method].keys() == {"W", "U", "b", "V", "c"}
    assert all(found["max_scaled_error"] <= 1e-9 for found in errors["complex_step"].values())
    output = said["gradcheck"].output
    assert output.count("Gradient check at ") == 2
    assert output.endswith("every entry is within its bound.\n")


def test_the_training_leaves_its_course_and_its_figures(flow: tuple[Project, dict[str, Ended]]) -> None:
    project, said = flow
    metrics = _json(project, "train/metrics.json")
    assert set(metrics) == {
        "steps",
        "epochs",
        "loss",
        "smooth_loss",
        "nats_per_char",
        "bits_per_char",
        "validation_nats_per_char",
        "validation_bits_per_char",
        "best_step",
        "best_validation_nats_per_char",
        "stopped",
        "initial_sha256",
    }
    assert (metrics["steps"], metrics["stopped"], metrics["epochs"]) == (300, "steps", 1)
    assert metrics["bits_per_char"] == pytest.approx(metrics["smooth_loss"] / 25 / np.log(2))
    with (project.root / "artifacts/train/history.csv").open(encoding="ascii", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [1, *range(10, 301, 10)]
    assert float(rows[-1]["smooth_loss"]) == metrics["smooth_loss"] < float(rows[0]["smooth_loss"])
    assert [row["step"] for row in rows if row["validation_nats_per_char"]] == ["100", "200", "300"]
    lines = (project.root / "artifacts/train/samples.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    samples = [json.loads(line) for line in lines]
    assert [(sample["step"], len(sample["text"])) for sample in samples] == [
        (1, 200),
        (100, 200),
        (200, 200),
        (300, 200),
    ]
    assert said["train"].output == ""
    assert "\nstep 300: smooth loss " in said["train"].errors
    assert said["train"].errors.count("\n") == 4  # three validations before it


def test_the_model_can_be_loaded_and_writes_on(flow: tuple[Project, dict[str, Ended]]) -> None:
    project, _ = flow
    text = charloom.load(project.root / "artifacts/train/model.npz").generate(50, seed=1, prime="The ")
    assert len(text) == 54
    assert set(text) <= set(_json(project, "prepare/vocabulary.json"))


def test_the_text_on_the_terminal_is_the_one_in_the_file_and_the_one_from_python(
    flow: tuple[Project, dict[str, Ended]],
) -> None:
    project, said = flow
    text = (project.root / "artifacts/synthesize/sample.txt").read_bytes().decode()
    assert said["synthesize"].output == text + "\n"
    assert text == charloom.load(project.root / "artifacts/train/model.npz").generate(200, seed=1)
    assert {"known_word_fraction", "longest_copy"} <= _json(project, "synthesize/metrics.json").keys()


def test_the_stages_run_again_leave_the_same_bytes(flow: tuple[Project, dict[str, Ended]], tmp_path: Path) -> None:
    again = flow[0].copy_to(tmp_path / "again")
    for stage in STAGES:
        again.stage(stage, *SMOKE, "inp=anew", f"out=anew/{stage}")
    assert again.files("anew") == flow[0].files("artifacts")


def test_a_wrong_gradient_prints_the_table_names_the_worst_entry_and_ends_with_6(prepared: Project) -> None:
    script = prepared.script("wrong_gradient.py", _WRONG_GRADIENT)
    ended = prepared.python(script, *SMOKE, "out=artifacts/gradcheck")
    line = ended.assert_one_error(GRADIENT, "the gradient is wrong", "at initial weights", "at large weights")
    assert ended.output.count("Gradient check at ") == 2
    assert "within its bound" not in ended.output
    errors = _json(prepared, "gradcheck/errors.json")
    assert errors["passed"] is False
    worst = errors["complex_step"]["b"]["worst"]
    assert worst["index"] == [3]
    assert worst["analytic"] / worst["numerical"] - 1 == pytest.approx(0.0005, rel=1e-6)
    assert "b[3]" in line
    for value in (worst["analytic"], worst["numerical"]):
        assert f"{value:.6g}"[:6] in line
    assert errors["complex_step"]["V"]["max_scaled_error"] < 1e-9


def test_without_a_wrong_entry_the_same_script_passes(prepared: Project) -> None:
    script = prepared.script("right_gradient.py", _WRONG_GRADIENT.replace("1.0005", "1"))
    assert prepared.python(script, *SMOKE, "out=artifacts/gradcheck").code == 0


def test_a_gradient_that_is_not_finite_ends_with_6_too(prepared: Project) -> None:
    script = prepared.script("infinite.py", _WRONG_GRADIENT.replace("*= 1.0005", "*= float('inf')"))
    ended = prepared.python(script, *SMOKE, "out=artifacts/gradcheck")
    ended.assert_one_error(GRADIENT, "the gradient is wrong", "(bound nan)")
    assert ended.output.count("Gradient check at ") == 2


def test_a_fault_that_only_shows_where_biases_are_not_zero_is_caught(prepared: Project) -> None:
    fault = "self.q[...] -= params['bn']\n        da, dz = backward(self, params, grads)"  # r's gradient without bn
    planted = (
        _WRONG_GRADIENT.replace("rnn import RNN", "gru import GRU")
        .replace("RNN", "GRU")
        .replace("da, dz = backward(self, params, grads)", fault)
        .replace("da[..., 3] *= 1.0005", "")
    )
    ended = prepared.python(
        prepared.script("without_bn.py", planted), *SMOKE, "model=gru", "model.hidden_size=8", "out=artifacts/gradcheck"
    )
    ended.assert_one_error(GRADIENT, "the gradient is wrong: at large weights", "finds W[")
    assert "at initial weights" not in ended.errors


def test_a_sample_says_how_many_entries_it_has_and_how_to_check_all(prepared: Project) -> None:
    ended = prepared.stage("gradcheck", *SMOKE, "gradcheck.mode=fast", "gradcheck.entries=5")
    assert "up to 5 entries of each tensor, of " in ended.output
    assert ended.output.endswith("gradcheck.mode=full checks every entry.\n")
    errors = _json(prepared, "gradcheck/errors.json")
    for methods in (errors, errors["large_weights"]):
        assert {found["entries"] for method in ("central", "complex_step") for found in methods[method].values()} == {5}


def test_at_large_weights_the_central_difference_takes_a_sample_and_the_complex_step_all(prepared: Project) -> None:
    prepared.stage("gradcheck", *SMOKE, "gradcheck.entries=5")
    large = _json(prepared, "gradcheck/errors.json")["large_weights"]
    assert (large["central"]["W"]["entries"], large["complex_step"]["W"]["entries"]) == (5, 64)


def test_a_window_in_which_rounding_grows_too_much_is_checked_as_far_as_it_can_be_which_is_said(
    prepared: Project,
) -> None:
    chaotic = ("model.init_scale=2", "gradcheck.hidden_size=40", "gradcheck.seq_length=64", "gradcheck.mode=fast")
    output = prepared.stage("gradcheck", *SMOKE, *chaotic, "gradcheck.entries=3").output
    assert "At initial weights the network amplifies rounding so much that a gradient over 64 time steps " in output


def test_a_dropout_mask_that_the_backward_pass_ignores_is_caught_where_there_is_dropout(prepared: Project) -> None:
    script = """
        import numpy as np
        from charloom.adapters.command import stage_main
        from charloom.core.network import Network
        from charloom.stages import gradcheck

        backward = Network.backward

        def without_masks(self, inputs):
            self.window(inputs.shape).masks = ()
            return backward(self, inputs)

        Network.backward = without_masks

        if __name__ == "__main__":
            stage_main(gradcheck.run)
    """
    path, layers = prepared.script("without_masks.py", script), ("model.layers=2", "out=artifacts/gradcheck")
    assert prepared.python(path, *SMOKE, *layers).code == 0
    ended = prepared.python(path, *SMOKE, *layers, "model.dropout=0.3")
    ended.assert_one_error(GRADIENT, "the gradient is wrong", "finds W[")


def _text(project: Project, *overrides: str) -> str:
    project.stage("synthesize", "preset=smoke", *overrides)
    return (project.root / "artifacts/synthesize/sample.txt").read_bytes().decode()


def test_the_text_starts_with_the_prompt(trained: Project) -> None:
    text = _text(trained, "synthesize.prime='The old '", "synthesize.length=20")
    assert text.startswith("The old ")
    assert len(text) == 28


def test_a_prompt_from_a_file_writes_what_the_same_on_the_command_line_does(trained: Project) -> None:
    (trained.root / "prime.txt").write_bytes(b"\xef\xbb\xbfThe old\r\n")
    from_file = _text(trained, "synthesize.prime_file=prime.txt", "synthesize.length=20")
    assert from_file.startswith("The old\n")
    assert from_file == charloom.load(trained.root / "artifacts/train/model.npz").generate(20, prime="The old\n")


def test_a_missing_prime_file_is_named(trained: Project) -> None:
    ended = trained.try_stage("synthesize", "synthesize.prime_file=none.txt")
    ended.assert_one_error(DATA, "there is no file none.txt; set synthesize.prime_file to a text file")


def test_characters_that_the_model_does_not_know_are_listed(trained: Project) -> None:
    ended = trained.try_stage("synthesize", "synthesize.prime='a € b ß'", "out=artifacts/synthesize")
    ended.assert_one_error(DATA, "the prompt has 'ß', '€' not among", "synthesize.on_unknown=skip")
    assert not (trained.root / "artifacts/synthesize").exists()


def test_characters_that_the_model_does_not_know_are_skipped_if_asked_for(trained: Project) -> None:
    skipped = _text(trained, "synthesize.prime='a€ b'", "synthesize.on_unknown=skip", "synthesize.length=30")
    without = _text(trained, "synthesize.prime='a b'", "synthesize.length=30")
    assert skipped[-30:] == without[-30:]


def test_a_length_of_nothing_writes_the_prompt_alone(trained: Project) -> None:
    assert _text(trained, "synthesize.prime=The", "synthesize.length=0") == "The"
    assert _text(trained, "synthesize.length=0") == ""


def test_at_temperature_zero_the_seed_makes_no_difference(trained: Project) -> None:
    cold = [_text(trained, "synthesize.temperature=0", f"synthesize.seed={seed}") for seed in (1, 2)]
    warm = [_text(trained, f"synthesize.seed={seed}") for seed in (1, 2)]
    assert cold[0] == cold[1]
    assert warm[0] != warm[1]


def test_three_streams_are_three_texts_with_a_line_between_them(trained: Project) -> None:
    texts = _text(trained, "synthesize.streams=3", "synthesize.length=40", "synthesize.prime=The").split("\n\n----\n\n")
    assert [len(text) for text in texts] == [43, 43, 43]
    assert all(text.startswith("The") for text in texts)
    assert len(set(texts)) == 3


def test_the_model_of_the_lowest_validation_loss_may_be_the_one_that_writes(trained: Project) -> None:
    best = charloom.load(trained.root / "artifacts/train/best.npz")
    assert _text(trained, "synthesize.model=best", "synthesize.length=50") == best.generate(50)


@pytest.mark.parametrize("stage", [*STAGES, "plot", "track"])
def test_help_says_what_a_stage_does_and_how_values_are_given(project: Project, stage: str) -> None:
    before = project.files()
    ended = project.try_stage(stage, "--help")
    assert (ended.code, ended.errors) == (0, "")
    assert ended.output.lower().startswith(f"{stage}: ")
    assert "model.hidden_size=200" in ended.output
    assert "out=<folder" in ended.output
    assert project.files() == before


def assert_ends_without_a_word_once_nobody_reads(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    ended = end(process)
    assert "charloom:" not in ended.errors
    assert "Traceback" not in ended.errors
    assert ended.code == 141


def test_a_reader_that_goes_away_ends_the_text_without_a_word(trained: Project) -> None:
    process = trained.start("-m", "charloom.stages.synthesize", "synthesize.length=1000000", "out=anew")
    assert process.stdout is not None
    assert len(process.stdout.read(10)) == 10
    assert_ends_without_a_word_once_nobody_reads(process)


def test_a_reader_that_is_not_there_is_no_mistake_of_the_program(project: Project) -> None:
    assert_ends_without_a_word_once_nobody_reads(project.start("-m", "charloom.stages.prepare", "out=anew"))


def test_a_terminal_that_cannot_show_a_character_does_not_end_the_text(project: Project) -> None:
    project.corpus.write_text("Žluťoučký kůň úpěl ďábelské ódy.\n" * 50, encoding="utf-8")
    project.stage("prepare")
    project.stage("train", "preset=smoke")
    ended = project.python(
        "-m",
        "charloom.stages.synthesize",
        "out=anew",
        "synthesize.prime='ďáb'",
        variables={"PYTHONIOENCODING": "ascii"},
    )
    assert ended.code == 0, ended.errors
    assert ended.output.startswith("\\u010f\\xe1b")
    assert (project.root / "anew/sample.txt").read_text(encoding="utf-8").startswith("ďáb")
