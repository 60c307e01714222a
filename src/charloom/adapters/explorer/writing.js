// Writing: texts that networks draw with the same random numbers, so that what differs is due to the networks.
// Uses `data` of data.js, and `state` and `reading` of main.js.
"use strict";

/** A text that is drawn in pieces, so that the page stays alive. */
class Draft {
  /** Go on from the time step `before`; `held` is null or the key of a unit and the value to keep it at. */
  constructor(network, before, { seed, length, options, held }) {
    const hold = held ? holdUnit(...held) : undefined;
    Object.assign(this, { network, now: before, length, options, hold, ids: [], random: randomNumbers(seed) });
  }

  /** Write on for so many milliseconds, or to the end; whether that was the end. */
  advance(milliseconds = Infinity) {
    const until = performance.now() + milliseconds;
    while (this.ids.length < this.length) {
      const o = this.network.outputs(this.now);
      const id = draw(o, gumbelNoise(o.length, this.random), this.options);
      this.ids.push(id);
      this.now = this.network.step(this.now, id, this.hold);
      if (performance.now() > until) break;
    }
    return this.ids.length >= this.length;
  }
}

/** A `hold` for Network.step that keeps one unit at a value. */
function holdUnit(key, value) {
  const { layer, name, unit } = parseUnit(key);
  return (inLayer, inVector, values) => {
    if (inLayer === layer && inVector === name) values[unit] = value;
    return values;
  };
}

const drafts = new Map(); // by where it is shown: the draft, and what it was made of

/** The draft for the place `name`: the one that is there, or a new one where it would be made of something else. */
function draftFor(name, before, { length, held = null }) {
  const { temperature, top_k, top_p, seed } = state, { network } = reading;
  const settings = { seed, length, held, options: { temperature, top_k, top_p } }, made = JSON.stringify(settings);
  const known = drafts.get(name);
  if (known?.made === made && known.before === before) return known.draft;
  const draft = new Draft(network, before, settings);
  drafts.set(name, { made, before, draft });
  return draft;
}

/** Go on with the drafts for so many milliseconds each, and show them; whether all have ended. */
function write(milliseconds) {
  const before = reading.after(committed() + 1), { length } = state;
  if (!before) return false; // not read yet
  const held = state.hold === "" ? null : draftFor("held", before, { length, held: [state.unit, Number(state.hold)] });
  const free = draftFor("free", before, { length });
  const sample = draftFor("sample", reading.opening, { length: SAMPLE_LENGTH });
  const ended = [free, held, sample].map((draft) => !draft || draft.advance(milliseconds));
  showDrafts(free, held);
  showWritten(byId("sample"), sample.ids.map((id) => vocabulary[id]), Infinity);
  return ended.every(Boolean);
}

function showDrafts(free, held) {
  const text = ({ ids }) => ids.map((id) => vocabulary[id]);
  const same = held ? commonStart(free.ids, held.ids) : Infinity;
  showWritten(byId("written"), text(free), same);
  byId("held").hidden = !held;
  if (!held) return;
  showWritten(byId("written-held"), text(held), same);
  byId("held-title").textContent = `With ${unitName(state.unit)} held at ${signed(Number(state.hold))}`;
  byId("same").textContent = same < free.ids.length
    ? `The same random numbers: the texts part after ${same} ${same === 1 ? "character" : "characters"}.`
    : "The same random numbers, and the same text.";
}

/** A written text; what comes after `same` characters stands out. */
function showWritten(element, characters, same) {
  const shown = (part) => part.map((character) => (character === "\n" ? "\n" : sign(character))).join("");
  const other = document.createElement("mark");
  other.textContent = shown(characters.slice(same));
  element.replaceChildren(shown(characters.slice(0, same)), ...(same < characters.length ? [other] : []));
}
