// The page: what the reader chooses is in `state`; `update` changes it, has the text read, and shows all views anew.
"use strict";

const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const vocabulary = Array.from(data.vocabulary);
const reading = new Reading(decodeNetwork(data, data.parameters, data.dtype), vocabulary);
const defaults = { ...DEFAULTS, text: data.excerpt };
const state = { ...defaults };
const PIECE = 12; // milliseconds of reading between two frames
let pointed = null; // the character that the pointer is on, where it is on one
let scheduled = 0;

const panel = new CharacterPanel(byId("characters"), {
  onChoose: (index) => update({ at: index === reading.characters.length - 1 ? -1 : index }),
  onPoint: (index) => {
    if (index !== pointed) {
      pointed = index;
      schedule();
    }
  },
});
const predictions = new Predictions(byId("candidates"), vocabulary, (id) => {
  const before = reading.characters.slice(0, chosen() + 1);
  update({ text: [...before, vocabulary[id]].join(""), at: -1 });
});

/** The index of the character that all views are about; -1 in an empty text. */
function chosen() {
  const last = reading.characters.length - 1;
  return Math.min(pointed ?? (state.at < 0 ? last : state.at), last);
}

/** Change the state, and show it. */
function update(changes) {
  const before = state.text;
  Object.assign(state, changes);
  if (state.text !== before || !reading.characters.length) reading.edit(Array.from(state.text));
  pointed = null;
  reading.advance(PIECE);
  show();
  schedule();
}

/** Read on, and show what is new, in the next frame and until all is read. */
function schedule() {
  cancelAnimationFrame(scheduled);
  scheduled = requestAnimationFrame(() => {
    const finished = reading.advance(PIECE);
    show();
    if (!finished) schedule();
  });
}

/** A loss in the unit of the reader's choice. */
function inUnit(nats, digits = 2) {
  return state.measure === "bits" ? `${(nats / Math.LN2).toFixed(digits)} bits` : `${nats.toFixed(digits)} nats`;
}

const LENSES = {
  surprise: {
    help: "The darker a character, the less the network expected it: its surprise is −log p, where p is the probability "
      + "that the network gave it beforehand.",
    colour: (index) => reading.loss(index) / Math.log(vocabulary.length) / 1.5,
    legend: () => ["expected", `${inUnit(1.5 * Math.log(vocabulary.length), 1)} or more`, false],
  },
};

/** All views of the state. */
function show() {
  const { characters } = reading, at = chosen(), lens = LENSES[state.lens];
  showField(characters);
  panel.show(characters, (character) => reading.ids.has(character));
  panel.colour((index) => lens.colour(index, at));
  panel.select(at, `${named(characters[at] ?? "")}, ${said(at)}`);
  byId("lens-help").textContent = lens.help;
  showLegend(...lens.legend());
  showChosen(at);
  showControls();
  writeHash(toHash(state, defaults));
}

function showField(characters) {
  const field = byId("text"), text = toField(characters);
  if (field.value !== text) field.value = text;
  const unknown = [...new Set(characters.filter((character) => !reading.ids.has(character)))];
  const listed = unknown.slice(0, 10).map(named).join(", ") + (unknown.length > 10 ? " …" : "");
  byId("unknown").textContent = unknown.length ? `The network does not know ${listed} and skips it.` : "";
}

function showLegend(low, high, both) {
  const scale = document.createElement("i");
  scale.classList.toggle("both", both);
  byId("legend").replaceChildren(low, scale, high);
}

/** What there is to say of a character's surprise. */
function said(index) {
  if (reading.place[index] === -1) return "not in the vocabulary";
  const loss = reading.loss(index);
  return loss === loss ? `${inUnit(loss)} of surprise (p = ${Math.exp(-loss).toPrecision(3)})` : "nothing was read before it";
}

function showChosen(at) {
  const now = reading.after(at + 1), mean = reading.meanLoss();
  byId("summary").textContent = mean === mean ? `Mean surprise of the text: ${inUnit(mean, 3)} per character.` : "";
  const character = reading.characters[at];
  byId("chosen").textContent = character === undefined ? "At the start, after a line break" : `After ${named(character)}: ${said(at)}`;
  if (!now) return; // not read yet
  const o = reading.network.outputs(now);
  predictions.show(o, distribution(o, state), reading.ids.get(reading.characters[at + 1]) ?? -1);
}

const SLIDERS = {
  temperature: (value) => value.toFixed(2),
  top_k: (value) => (value ? String(value) : "all"),
  top_p: (value) => (value < 1 ? value.toFixed(2) : "all"),
};

function showControls() {
  for (const [name, format] of Object.entries(SLIDERS)) {
    byId(name).value = state[name];
    byId(`${name}-value`).textContent = format(state[name]);
    byId(name).setAttribute("aria-valuetext", format(state[name]));
  }
  for (const name of ["lens", "measure"]) {
    for (const radio of document.getElementsByName(name)) radio.checked = radio.value === state[name];
  }
}

function listen() {
  byId("text").addEventListener("input", ({ target }) => {
    const characters = fromField(target.value, reading.ids);
    const caret = Array.from(target.value.slice(0, target.selectionEnd)).length;
    update({ text: characters.join(""), at: caret < characters.length ? caret - 1 : -1 });
  });
  byId("restore").addEventListener("click", () => update({ text: data.excerpt, at: -1 }));
  byId("clear").addEventListener("click", () => update({ text: "", at: -1 }));
  byId("top_k").max = vocabulary.length;
  for (const name of Object.keys(SLIDERS)) {
    byId(name).addEventListener("input", ({ target }) => update({ [name]: Number(target.value) }));
  }
  for (const name of ["lens", "measure"]) {
    for (const radio of document.getElementsByName(name)) {
      radio.addEventListener("change", ({ target }) => update({ [name]: target.value }));
    }
  }
  addEventListener("hashchange", () => update(fromHash(readHash(), defaults)));
}

byId("corpus").textContent = data.corpus;
document.title = `charloom explorer: ${data.corpus}`;
listen();
update(fromHash(readHash(), defaults));
