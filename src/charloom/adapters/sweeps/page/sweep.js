// The page of a sweep: sort and filter the table, pick a configuration in all charts, choose the two keys of a heat map.
"use strict";

const byId = (id) => document.getElementById(id);
const body = document.querySelector("#results tbody");
const rows = [...body.rows];
const headings = [...document.querySelectorAll("#results thead th")].map((header) => header.textContent);
const marks = Map.groupBy
  ? Map.groupBy(document.querySelectorAll("[data-c]"), (mark) => mark.dataset.c)
  : new Map(rows.map((row) => [row.dataset.c, document.querySelectorAll(`[data-c="${row.dataset.c}"]`)]));
let pinned = null; // the configuration that was clicked
let picked = null; // the one that is shown: the pinned one, or the one under the pointer or with the focus

/** What a cell is sorted by: a number, or its text. */
const sortValue = (cell) => (cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v));

/** The order of two cells: numbers before texts, and those without a value last in both directions. */
function compare(one, other, direction) {
  const [a, b] = [sortValue(one), sortValue(other)];
  if (a === "–" || b === "–") return (a === "–") - (b === "–");
  if (typeof a !== typeof b) return direction * (typeof a === "number" ? -1 : 1);
  return direction * (typeof a === "number" ? a - b : a.localeCompare(b));
}

function sortBy(header) {
  const ascending = header.getAttribute("aria-sort") !== "ascending", column = header.cellIndex;
  for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  rows.sort((one, other) => compare(one.cells[column], other.cells[column], ascending ? 1 : -1));
  body.append(...rows);
}

/** Whether a row has a word in one of its cells, or for a word such as cell=gru, in one of a column with such a name. */
function has(row, word) {
  const [value, name = ""] = word.split("=").reverse();
  return [...row.cells].some((cell, column) =>
    headings[column].includes(name) && (name ? cell.textContent.toLowerCase() === value : cell.textContent.toLowerCase().includes(value)));
}

function filter(text) {
  const words = text.toLowerCase().split(/\s+/);
  for (const row of rows) row.hidden = !words.every((word) => has(row, word));
  const shown = rows.filter((row) => !row.hidden).length;
  byId("count").textContent = text ? `${shown} of ${rows.length}` : "";
}

/** Show one configuration in the table and in every chart; null: all alike. */
function pick(configuration) {
  if (configuration === picked) return;
  for (const mark of marks.get(picked) ?? []) mark.classList.remove("picked");
  for (const mark of marks.get(configuration) ?? []) mark.classList.add("picked");
  document.body.classList.toggle("picking", configuration !== null);
  picked = configuration;
  const row = rows.find((each) => each.dataset.c === configuration);
  byId("picked").textContent = row ? described(row) : "";
}

/** A row in words: each column that has a value. */
function described(row) {
  return [...row.cells].map((cell, column) => `${headings[column]} ${cell.textContent}`).join(", ");
}

const configurationAt = (target) => target.closest?.("[data-c]")?.dataset.c ?? null;

for (const header of document.querySelectorAll("#results thead th")) {
  header.firstElementChild.addEventListener("click", () => sortBy(header));
}
byId("filter").addEventListener("input", ({ target }) => filter(target.value));
document.addEventListener("pointerover", ({ target, pointerType }) => {
  if (pointerType === "mouse") pick(configurationAt(target) ?? pinned);
});
document.addEventListener("click", ({ target }) => {
  const configuration = configurationAt(target);
  pinned = configuration === pinned ? null : configuration;
  pick(pinned);
});
body.addEventListener("focusin", ({ target }) => pick(configurationAt(target)));
body.addEventListener("focusout", () => pick(pinned));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") pick((pinned = null));
  const row = event.target.closest?.("#results tbody tr");
  if (!row) return;
  if (event.key === "Enter") pick((pinned = row.dataset.c));
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const shown = rows.filter((each) => !each.hidden), next = shown[shown.indexOf(row) + step];
  event.preventDefault();
  if (!next) return;
  row.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
});

const pairs = [...document.querySelectorAll(".pair")], select = byId("pair");
const showPair = () => pairs.forEach((pair, place) => (pair.hidden = place !== Number(select.value)));
if (select) {
  select.hidden = false;
  select.addEventListener("change", showPair);
  showPair();
}
