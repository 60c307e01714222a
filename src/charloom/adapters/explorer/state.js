// The state of the page in its address, so that a link leads back to what someone looked at.
"use strict";

const LONGEST_LINK = 2000; // characters of a text in an address

/** The state as the part of an address after #: what differs from the defaults. */
function toHash(state, defaults) {
  const changed = Object.entries(state).filter(([key, value]) => key in defaults && value !== defaults[key]);
  const short = changed.filter(([key, value]) => key !== "text" || value.length <= LONGEST_LINK);
  return new URLSearchParams(short.map(([key, value]) => [key, String(value)])).toString();
}

/** The state of such an address: the defaults where it names no value, or one that is not `allowed`. */
function fromHash(hash, defaults, allowed) {
  const state = { ...defaults };
  for (const [key, text] of new URLSearchParams(hash.replace(/^#/, ""))) {
    if (!Object.hasOwn(defaults, key)) continue;
    const value = typeof defaults[key] === "number" ? Number(text) : text;
    if (allowed[key]?.(value) ?? true) state[key] = value;
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

let written = null;

/** Set it, without a new entry in the browser's history; a frame may refuse. */
function writeHash(hash) {
  if (hash === written) return;
  written = hash;
  try {
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  } catch {
    // The link on the page still has it.
  }
}
