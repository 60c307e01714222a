// The page: what the reader chooses is in `state`; `update` changes it, has the text read, and shows all views anew.
"use strict";

const training = new Training(data);
const reading = new Reading(training.at(data.step), vocabulary);
const PIECE = 8; // milliseconds of computing between two frames
const LONGEST_TEXT = 4000; // characters; all of them are coloured anew at every change
const PAUSE = 200; // milliseconds without a change before the network writes: it must not hold up who types

/** The choices and their values at the start; what differs from these is in the address. */
const defaults = {
  text: data.excerpt,
  at: -1, // the index of the chosen character; -1: the last
  lens: "surprise",
  gradient: "norm",
  measure: "bits",
  unit: data.units.ranked.length ? unitKey(asUnit(data.units.ranked[0])) : "0.h.0",
  temperature: 1,
  top_k: 0,
  top_p: 1,
  seed: 1,
  length: 300,
  hold: "", // the value that the unit is held at while writing; empty: it is not
  step: data.step,
};
const ALLOWED = {
  at: (at) => Number.isInteger(at) && at >= -1,
  lens: (lens) => Object.hasOwn(LENSES, lens),
  gradient: (kind) => kind === "norm" || kind === "signed",
  measure: (unit) => unit === "bits" || unit === "nats",
  unit: isUnit,
  temperature: (value) => value >= 0 && value <= 2,
  top_k: (k) => Number.isInteger(k) && k >= 0 && k <= vocabulary.length,
  top_p: (p) => p > 0 && p <= 1,
  seed: (seed) => Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32,
  length: (length) => Number.isInteger(length) && length >= 1 && length <= 5000,
  hold: (value) => value === "" || Number.isFinite(Number(value)),
  step: (step) => training.steps.includes(step),
};
const state = { ...defaults };
let pointed = null; // the character that the pointer is on, where it is on one
let scheduled = 0, resumed = 0; // the frame in which computing goes on, and the timer after which it does
let changed = 0; // when the state was last changed
const undone = []; // the texts before the last changes by a button

const panel = new CharacterPanel(byId("characters"), {
  onChoose: (index) => update({ at: index === reading.characters.length - 1 ? -1 : index }),
  onPoint: (index) => {
    if (index === pointed) return;
    pointed = index;
    show();
  },
});
const predictions = new Predictions(byId("candidates"), vocabulary, (id) => {
  replaceText([...reading.characters.slice(0, committed() + 1), vocabulary[id]].join(""));
});
const picker = new UnitPicker(byId, (unit) => update({ unit, lens: "unit" }));
const bars = new TrainingBars(byId("bars"), training.steps, (step) => update({ step }));

/** The index of the chosen character; -1 in an empty text. */
function committed() {
  const last = reading.characters.length - 1;
  return state.at < 0 ? last : Math.min(state.at, last);
}

/** The index of the character that the views are about: the one under the pointer, or else the chosen one. */
const looked = () => (pointed === null ? committed() : Math.min(pointed, reading.characters.length - 1));

/** Change the state, and show it. */
function update(changes) {
  Object.assign(state, changes);
  changed = performance.now();
  pointed = null;
  const network = training.at(state.step);
  if (reading.network !== network) reading.use(network);
  const characters = Array.from(state.text).slice(0, LONGEST_TEXT);
  state.text = characters.join("");
  reading.edit(characters);
  reading.advance(PIECE / 2); // what was typed is on the page at once, what follows it in the next frames
  show();
  schedule();
}

/** Set the text by a button; `undo` brings back the one before. */
function replaceText(text) {
  undone.push(state.text);
  update({ text, at: -1 });
}

/** Compute a piece of what is left, once the browser has drawn what there is. */
function schedule(pause = 0) {
  cancelAnimationFrame(scheduled);
  clearTimeout(resumed);
  scheduled = requestAnimationFrame(() => (resumed = setTimeout(work, pause)));
}

/** First the text is read, then, after a pause, the network writes, then the text is measured at every step. */
function work() {
  const before = reading.steps.length, finished = reading.advance(PIECE);
  if (reading.steps.length > before || state.lens === "ngram") show();
  if (!finished) return schedule();
  const pause = changed + PAUSE - performance.now();
  if (pause > 0) return schedule(pause);
  writeHash(toHash(state, defaults));
  if (!write(PIECE / 3)) return schedule();
  const measured = training.measure(reading.characters, PIECE);
  bars.show(training, state.step, Math.log(vocabulary.length));
  if (!measured) schedule();
}

/** A loss in the unit of the reader's choice. */
function inUnit(nats, digits = 2) {
  const value = state.measure === "bits" ? nats / Math.LN2 : nats;
  return `${value.toFixed(digits).replace("-", "−")} ${state.measure}`;
}

/** All views of the state. */
function show() {
  const { characters } = reading, at = looked(), lens = LENSES[state.lens];
  showField(characters);
  panel.show(characters, (character) => reading.ids.has(character));
  lens.prepare?.(at);
  panel.colour((index) => (reading.isRead(index) ? lens.colour(index) : undefined)); // what is not yet, keeps its colour
  panel.select(at, `${named(characters[at] ?? "")}, ${said(at)}`, state.lens === "gradient" ? at : Infinity);
  byId("lens-help").textContent = lens.help();
  showLegend(...lens.legend());
  byId("detail").textContent = lens.detail(at);
  showNext(at);
  showControls();
  byId("link").href = `#${toHash(state, defaults)}`;
  setText("link", characters.length <= LONGEST_LINK || state.text === defaults.text ? "Link to this view" : "Link to this view, without the text");
}

function showField(characters) {
  const field = byId("text"), text = toField(characters);
  if (field.value !== text) field.value = text;
  const unknown = [...new Set(characters.filter((character) => !reading.ids.has(character)))];
  const listed = unknown.slice(0, 10).map(named).join(", ") + (unknown.length > 10 ? " …" : "");
  const skipped = unknown.length ? `The network does not know ${listed} and skips it. ` : "";
  const isFull = characters.length === LONGEST_TEXT;
  const cut = isFull ? `The text ends here: the page reads at most ${LONGEST_TEXT.toLocaleString("en")} characters.` : "";
  setText("unknown", skipped + cut);
}

/** Change a text only where it differs: a screen reader says what is set. */
function setText(id, text) {
  if (byId(id).textContent !== text) byId(id).textContent = text;
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

function showNext(at) {
  const now = reading.after(at + 1), character = reading.characters[at];
  setText("chosen", character === undefined ? "At the start, after a line break" : `After ${named(character)}: ${said(at)}`);
  if (!now) return; // not read yet
  const o = reading.network.outputs(now);
  predictions.show(o, distribution(o, state), reading.ids.get(reading.characters[at + 1]) ?? -1);
  picker.show(state.lens === "unit" ? now : null);
}

const SLIDERS = {
  temperature: (value) => value.toFixed(2),
  top_k: (value) => (value ? String(value) : "all"),
  top_p: (value) => (value < 1 ? value.toFixed(2) : "all"),
};
const RADIOS = ["lens", "measure", "gradient"];

function showControls() {
  for (const [name, format] of Object.entries(SLIDERS)) {
    byId(name).value = state[name];
    byId(`${name}-value`).textContent = format(state[name]);
    byId(name).setAttribute("aria-valuetext", format(state[name]));
  }
  for (const name of RADIOS) {
    for (const radio of document.getElementsByName(name)) radio.checked = radio.value === state[name];
  }
  for (const element of document.querySelectorAll("[data-lens]")) element.hidden = element.dataset.lens !== state.lens;
  byId("seed").value = state.seed;
  byId("length").value = state.length;
  byId("undo").hidden = !undone.length;
  showHold();
  showStep();
}

function showHold() {
  const { name } = parseUnit(state.unit), isGate = "oifrz".includes(name), slider = byId("hold-value");
  slider.min = isGate ? 0 : name in LIMITS ? -4 : -1;
  slider.max = isGate ? 1 : name in LIMITS ? 4 : 1;
  slider.value = state.hold === "" ? 0 : state.hold;
  slider.disabled = state.hold === "";
  byId("hold").checked = state.hold !== "";
  byId("hold-unit").textContent = unitName(state.unit);
  byId("hold-number").textContent = state.hold === "" ? "" : signed(Number(state.hold));
}

function showStep() {
  const place = training.steps.indexOf(state.step), step = state.step.toLocaleString("en");
  byId("step").max = training.steps.length - 1;
  byId("step").value = place;
  byId("step").setAttribute("aria-valuetext", `step ${step}`);
  byId("step-value").textContent = `step ${step}`;
  const mean = reading.meanLoss();
  byId("step-mean").textContent = mean === mean ? `${inUnit(mean)} per character of your text` : "";
  byId("earlier").hidden = state.step === data.step;
  setText("earlier-step", `The network of step ${step}.`);
}

function listen() {
  byId("text").addEventListener("input", ({ target }) => {
    const characters = fromField(target.value, reading.ids);
    const caret = Array.from(target.value.slice(0, target.selectionEnd)).length;
    update({ text: characters.join(""), at: caret < characters.length ? Math.max(0, caret - 1) : -1 });
  });
  byId("restore").addEventListener("click", () => replaceText(data.excerpt));
  byId("clear").addEventListener("click", () => replaceText(""));
  byId("undo").addEventListener("click", () => update({ text: undone.pop(), at: -1 }));
  byId("append").addEventListener("click", () => {
    const written = drafts.get("free").draft.ids.map((id) => vocabulary[id]);
    replaceText([...reading.characters.slice(0, committed() + 1), ...written].join(""));
  });
  byId("another").addEventListener("click", () => update({ seed: (state.seed + 1) % 2 ** 32 }));
  byId("hold").addEventListener("change", ({ target }) => update({ hold: target.checked ? "0" : "" }));
  byId("hold-value").addEventListener("input", ({ target }) => update({ hold: target.value }));
  byId("step").addEventListener("input", ({ target }) => update({ step: training.steps[target.value] }));
  byId("latest").addEventListener("click", () => update({ step: data.step }));
  byId("top_k").max = vocabulary.length;
  for (const name of [...Object.keys(SLIDERS), "seed", "length"]) {
    byId(name).addEventListener("input", ({ target }) => {
      const value = Number(target.value);
      if (target.value !== "" && ALLOWED[name](value)) update({ [name]: value });
    });
  }
  for (const name of RADIOS) {
    for (const radio of document.getElementsByName(name)) {
      radio.addEventListener("change", ({ target }) => update({ [name]: target.value }));
    }
  }
  addEventListener("hashchange", () => update(fromHash(readHash(), defaults, ALLOWED)));
}

/** What does not change. */
function introduce() {
  document.title = `charloom explorer: ${data.corpus}`;
  byId("corpus").textContent = data.corpus;
  byId("facts").textContent = data.facts;
  byId("snapshots").hidden = training.steps.length === 1;
  byId("no-snapshots").hidden = training.steps.length > 1;
  byId("notes").replaceChildren(...data.notes.map((note) => Object.assign(document.createElement("li"), { textContent: note })));
}

introduce();
listen();
update(fromHash(readHash(), defaults, ALLOWED));
