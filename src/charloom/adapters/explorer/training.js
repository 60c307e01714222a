// The snapshots of the training: the network as it was after so many updates, from noise to words.
// Uses `data` of data.js, and `state` and `reading` of main.js.
"use strict";

const SAMPLE_LENGTH = 240; // characters that the network of each step writes

/** Networks by step, each made when it is first looked at; the last step on the slider need not be the page's own. */
class Training {
  constructor(data) {
    this.data = data;
    this.networks = new Map();
    this.steps = [...new Set([...data.snapshots.map(({ step }) => step), data.step])].sort((a, b) => a - b);
    this.means = new Map(); // of the losses of a text, by step
    this.text = null; // that text
  }

  /** The network as it was at a step: the page's own at its step, and a snapshot at any other. */
  at(step) {
    if (!this.networks.has(step)) {
      const { data } = this, snapshot = step === data.step ? null : data.snapshots.find((each) => each.step === step);
      const network = snapshot
        ? decodeNetwork(data, snapshot.parameters, data.snapshot_dtype)
        : decodeNetwork(data, data.parameters, data.dtype);
      this.networks.set(step, network);
    }
    return this.networks.get(step);
  }

  /** Measure the mean loss of the text at one more step, for so many milliseconds; whether all are measured. */
  measure(characters, milliseconds) {
    const text = characters.join("");
    if (text !== this.text) {
      this.means.clear();
      this.current = null;
      this.text = text;
    }
    const step = this.steps.find((each) => !this.means.has(each));
    if (step === undefined) return true;
    if (!this.current) {
      this.current = new Reading(this.at(step), vocabulary);
      this.current.edit(characters);
    }
    if (this.current.advance(milliseconds)) {
      this.means.set(step, this.current.meanLoss());
      this.current = null;
    }
    return false;
  }
}

/** The bars: the mean surprise of the text at each step, each a place to go to. */
class TrainingBars {
  constructor(list, steps, onStep) {
    list.parentElement.style.setProperty("--n", steps.length);
    this.bars = steps.map((step) => {
      const bar = document.createElement("i");
      bar.addEventListener("click", () => onStep(step));
      list.append(bar);
      return bar;
    });
  }

  show(training, chosenStep, uniform) {
    training.steps.forEach((step, place) => {
      const mean = training.means.get(step), bar = this.bars[place];
      bar.style.setProperty("--v", Number.isFinite(mean) ? Math.min(1, mean / uniform / 1.1).toFixed(3) : 0);
      bar.title = Number.isFinite(mean) ? `step ${step.toLocaleString("en")}: ${inUnit(mean)} per character` : "";
      bar.classList.toggle("picked", step === chosenStep);
    });
  }
}
