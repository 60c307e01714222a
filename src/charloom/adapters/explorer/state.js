// What the reader has chosen, and the address that leads back to it.
"use strict";

const LONGEST_LINK = 2000; // characters of a text in an address

/** The choices and their values at the start; those of the page's own network are set in main.js. */
const DEFAULTS = { at: -1, lens: "surprise", measure: "bits", temperature: 1, top_k: 0, top_p: 1 };

/** The state as the part of an address after #: what differs from the defaults. */
function toHash(state, defaults) {
  const changed = Object.entries(state).filter(([key, value]) => key in defaults && value !== defaults[key]);
  const short = changed.filter(([key, value]) => key !== "text" || value.length <= LONGEST_LINK);
  return new URLSearchParams(short.map(([key, value]) => [key, String(value)])).toString();
}

/** The state of such an address: the defaults where it names no value, or one of another kind. */
function fromHash(hash, defaults) {
  const state = { ...defaults };
  for (const [key, text] of new URLSearchParams(hash.replace(/^#/, ""))) {
    if (!Object.hasOwn(defaults, key)) continue;
    const value = typeof defaults[key] === "number" ? Number(text) : text;
    if (value === value && value !== Infinity && value !== -Infinity) state[key] = value;
  }
  return state;
}

/** The part after # of the page's address; a frame may refuse to tell. */
function readHash() {
  try {
    return location.hash;
  } catch {
    return "";
  }
}

/** Set it, without a new entry in the browser's history; a frame may refuse. */
function writeHash(hash) {
  try {
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  } catch {
    // The link on the page still has it.
  }
}
