// The lenses: what the text can be coloured by. Each has
//
//     prepare(at)    computes what the colours need; `at` is the index of the chosen character
//     colour(index)  the colour of a character, -1 (cool) … 1 (warm)
//     legend()       what the cool or pale, and what the warm end means; whether there is a cool one
//     detail(at)     what there is to say of the chosen character, and of the text
//
// Uses `data` of data.js, and `state` and `reading` of main.js.
"use strict";

const LENSES = {
  surprise: {
    help: () => "The warmer a character, the less the network expected it: its surprise is −log p, where p is the "
      + "probability that the network gave it beforehand.",
    colour: (index) => reading.loss(index) / Math.log(vocabulary.length) / 1.5,
    legend: () => ["expected", `${inUnit(1.5 * Math.log(vocabulary.length), 1)} or more`, false],
    detail() {
      const mean = reading.meanLoss();
      return mean === mean ? `Mean surprise of the text: ${inUnit(mean, 3)} per character.` : "";
    },
  },

  ngram: {
    help: () => `The surprise of the network minus that of the ${ngramName}, which knows how often the training text has `
      + `each run of up to ${data.order} characters and nothing else. Cool: the network predicts better.`,
    prepare: () => prepareNGrams(),
    colour: (index) => ngramDifference(index) / 3,
    legend: () => [`network better by ${inUnit(3, 1)} or more`, `${ngramName} better`, true],
    detail(at) {
      if (!ngramLosses) return ngramsMissing;
      const differences = reading.characters.map((_, index) => ngramDifference(index)).filter((value) => value === value);
      if (!differences.length) return "";
      const mean = differences.reduce((a, b) => a + b, 0) / differences.length, here = ngramDifference(at);
      const compared = (nats) => `the network’s surprise is ${inUnit(Math.abs(nats), 3)} ${nats < 0 ? "lower" : "higher"}`;
      return `${here === here ? `At ${named(reading.characters[at])} ${compared(here)}; on` : "On"} average, ${compared(mean)} per character.`;
    },
  },

  unit: {
    help: () => {
      const { layer, name } = parseUnit(state.unit);
      const gate = "oifrz".includes(name) ? " A gate is between 0, closed (cool), and 1, open (warm)." : "";
      return `The value of one hidden unit after each character${data.layers > 1 ? `, in layer ${layer}` : ""}.${gate}`;
    },
    prepare: () => prepareUnit(),
    colour: (index) => unitColour(index),
    legend: () => unitLegend(),
    detail: (at) => unitDetail(at),
  },

  gradient: {
    help: () => state.gradient === "norm"
      ? "The warmer an earlier character xₛ, the more the loss Lₜ of the chosen one depends on it: ‖∂Lₜ/∂xₛ‖, the length of "
        + "the exact gradient with respect to the one-hot vector xₛ."
      : "xₛ · ∂Lₜ/∂xₛ, the entry of the exact gradient that belongs to the character that stands there. Cool: it makes the "
        + "chosen character more expected; warm: less.",
    prepare: (at) => prepareGradients(at),
    colour: (index) => gradientColour(index),
    legend: () => {
      const highest = gradients.highest ? gradients.highest.toPrecision(2) : "0";
      return state.gradient === "norm" ? ["0", `${highest}, on a scale of square roots`, false] : [`−${highest}`, highest, true];
    },
    detail: (at) => gradientDetail(at),
  },
};

// ---- Against n-grams

const ngramName = data.order ? `${data.order}-gram model` : "uniform model";
let ngrams = null, ngramLosses = null, ngramsRead = null, ngramsMissing = "";

/** Count the training text, once and in pieces; then the losses of the text by it. */
function prepareNGrams() {
  if (data.training_text === null) {
    const isExcerpt = data.ngram_losses.length > 0 && state.text === data.excerpt;
    ngramLosses = isExcerpt ? [NaN, ...data.ngram_losses] : null;
    ngramsMissing = "The training text, which the n-gram model counts, is too large for this page"
      + (data.ngram_losses.length ? ": only the text from the corpus is compared." : ".");
    return;
  }
  if (!ngrams) {
    ngrams = new NGrams(Array.from(data.training_text, (character) => reading.ids.get(character)), vocabulary.length, data.order);
    ngramsMissing = "Counting the training text …";
    const count = () => (ngrams.countOneOrder() ? schedule() : setTimeout(count));
    setTimeout(count);
  }
  const counted = ngrams.counts.length === ngrams.order;
  if (counted && ngramsRead !== state.text) {
    ngramLosses = ngrams.losses(reading.known);
    ngramsRead = state.text;
  }
}

/** The network's loss minus that of the n-gram model, in nats. */
function ngramDifference(index) {
  return ngramLosses ? reading.loss(index) - ngramLosses[reading.place[index]] : NaN;
}

// ---- The gradient

const gradients = { of: null, at: -1, norm: [], signed: [], highest: 0 };

/** ∂L_t/∂x_s of the chosen character with respect to all before it, where it is not there yet. */
function prepareGradients(at) {
  const step = reading.steps[reading.place[at]];
  if (gradients.of !== step || gradients.at !== at) {
    const found = reading.place[at] > 0 && step ? reading.gradients(at) : [];
    gradients.norm = found.map((g) => (g ? Math.hypot(...g) : NaN));
    gradients.signed = found.map((g, index) => (g ? g[reading.known[reading.place[index]]] : NaN));
    Object.assign(gradients, { of: step, at });
  }
  gradients.highest = Math.max(0, ...gradients[state.gradient].map((value) => Math.abs(value) || 0));
}

function gradientColour(index) {
  const value = gradients[state.gradient][index] || 0;
  return gradients.highest ? Math.sign(value) * Math.sqrt(Math.abs(value) / gradients.highest) : 0;
}

function gradientDetail(at) {
  const { norm } = gradients, whole = norm.reduce((sum, value) => sum + (value || 0), 0);
  if (!whole) return "Choose a character that has others before it.";
  let lag = 0;
  for (let rest = 0.99 * whole; rest > 0 && lag < norm.length; lag++) rest -= norm[norm.length - 1 - lag] || 0;
  const last = lag === 1 ? "The last character has" : `The last ${lag} characters have`;
  return `${last} 99% of the sum of these lengths: what stands before hardly matters to the loss of ${named(reading.characters[at])}.`;
}
