// Single units: which one is looked at, its values along the text, and what it follows.
// Uses `data` of data.js, and `state` and `reading` of main.js.
"use strict";

const LIMITS = { c: 0 }; // the scale of a state without bounds is that of its values

/** "0.h.42": the unit 42 of h in the first layer. */
function parseUnit(key) {
  const [layer, name, unit] = key.split(".");
  return { layer: Number(layer), name, unit: Number(unit) };
}

/** A unit of `data.units`, whose first three values say which it is. */
const asUnit = ([layer, name, unit]) => ({ layer, name, unit });

const unitKey = ({ layer, name, unit }) => `${layer}.${name}.${unit}`;

function isUnit(key) {
  const { layer, name, unit } = parseUnit(key);
  const whole = Number.isInteger(layer) && Number.isInteger(unit);
  return whole && layer >= 0 && layer < data.layers && unit >= 0 && unit < data.hidden_size && reading.network.cell.vectors.includes(name);
}

/** A unit's name: h 42, or h 42 (layer 0) where there are several. */
function unitName(key) {
  const { layer, name, unit } = parseUnit(key);
  return `${name} ${unit}${data.layers > 1 ? ` (layer ${layer})` : ""}`;
}

/** Its value after the character at `index`; NaN where that was not read. */
function unitValue(index) {
  const { layer, name, unit } = parseUnit(state.unit), place = reading.place[index];
  return place >= 0 ? reading.steps[place + 1]?.[layer][name][unit] ?? NaN : NaN;
}

let unitScale = 1;

function prepareUnit() {
  const values = reading.characters.map((_, index) => Math.abs(unitValue(index)) || 0);
  unitScale = parseUnit(state.unit).name in LIMITS ? values.reduce((a, b) => Math.max(a, b), 1e-9) : 1;
}

/** A value as a colour: gates are between 0 and 1, all else is on both sides of 0. */
function valueColour(name, value, scale) {
  return "oifrz".includes(name) ? 2 * value - 1 : value / scale;
}

const unitColour = (index) => valueColour(parseUnit(state.unit).name, unitValue(index), unitScale);

function unitLegend() {
  const { name } = parseUnit(state.unit);
  if ("oifrz".includes(name)) return ["0, closed", "1, open", true];
  return unitScale === 1 ? ["−1", "1", true] : [(-unitScale).toFixed(1), unitScale.toFixed(1), true];
}

function unitDetail(at) {
  const value = unitValue(at);
  const here = value === value ? `${unitName(state.unit)} is ${signed(value)} after ${named(reading.characters[at])}. ` : "";
  const ranked = data.units.ranked.find((each) => unitKey(asUnit(each)) === state.unit);
  if (!ranked) return here;
  const [, , , feature, chosenBy, correlation] = ranked;
  return `${here}Of all features it follows “${data.units.features[feature]}” most closely: r = ${signed(correlation)} on text `
    + `that the feature was not chosen on (${signed(chosenBy)} on the text it was).`;
}

const signed = (value) => value.toFixed(2).replace("-", "−");

/** The controls: which unit, the best unit for each feature, and all units of a layer as a field of small squares. */
class UnitPicker {
  constructor(element, onPick) {
    this.onPick = onPick;
    this.field = element("unit-field");
    this.name = element("unit-name");
    this.number = element("unit-number");
    for (let layer = 0; layer < data.layers; layer++) {
      for (const name of reading.network.cell.vectors) {
        this.name.append(new Option(data.layers > 1 ? `${name}, layer ${layer}` : name, `${layer}.${name}`));
      }
    }
    this.number.max = data.hidden_size - 1;
    const pick = () => onPick(`${this.name.value}.${Math.min(data.hidden_size - 1, Math.max(0, Math.round(this.number.value)))}`);
    this.name.addEventListener("change", pick);
    this.number.addEventListener("change", pick);
    this.squares = Array.from({ length: data.hidden_size }, (_, unit) => {
      const square = document.createElement("i");
      square.title = `unit ${unit}`;
      square.addEventListener("click", () => onPick(`${this.name.value}.${unit}`));
      return square;
    });
    this.field.append(...this.squares);
    this.showFeatures(element("unit-features"));
    element("unit-chance").textContent = data.units.by_feature.length
      ? `The features are those of a text of ${data.units.characters.toLocaleString("en")} characters: a unit is chosen on the first `
        + "half of it, and r is its correlation on the second. Shifted against the text, where nothing belongs together, the "
        + `best pair of the first half still has |r| = ${data.units.by_chance.toFixed(2)}: what is not clearly above that is chance.`
      : "There is too little text to compare the units with.";
  }

  /** A row for each feature: the unit that follows it most closely. */
  showFeatures(body) {
    this.rows = data.units.by_feature.map((found) => {
      const [, , , feature, chosenBy, correlation] = found;
      const row = body.insertRow(), key = unitKey(asUnit(found)), button = document.createElement("button");
      button.type = "button";
      button.textContent = unitName(key);
      button.addEventListener("click", () => this.onPick(key));
      row.insertCell().append(button);
      const feat = document.createElement("th");
      feat.scope = "row";
      feat.textContent = data.units.features[feature];
      row.prepend(feat);
      row.insertCell().textContent = signed(correlation);
      row.insertCell().textContent = signed(chosenBy);
      row.classList.toggle("chance", Math.abs(chosenBy) < 1.5 * data.units.by_chance);
      return { row, key };
    });
  }

  show(now) {
    const { layer, name, unit } = parseUnit(state.unit);
    this.name.value = `${layer}.${name}`;
    this.number.value = unit;
    for (const { row, key } of this.rows) row.classList.toggle("picked", key === state.unit);
    this.squares.forEach((square, k) => {
      const value = now ? valueColour(name, now[layer][name][k], unitScale) : 0;
      square.style.setProperty("--v", Math.min(1, Math.abs(value)).toFixed(3));
      square.classList.toggle("cool", value < 0);
      square.classList.toggle("picked", k === unit);
    });
  }
}
