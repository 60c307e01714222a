// Characters: their ids, and how they are shown. A character is a code point, as in charloom.core.text.
"use strict";

const SHOWN = { "\n": "↵", "\t": "⇥", " ": " ", "\u00a0": "⍽", "\u00ad": "¬" };

/** A visible sign for a character that has none or would change the page around it: ↵, ␛, ⟨202E⟩. */
function sign(character) {
  if (character in SHOWN) return SHOWN[character];
  const code = character.codePointAt(0);
  if (code < 0x20) return String.fromCodePoint(0x2400 + code);
  if (code === 0x7f) return "␡";
  if (/[\p{C}\p{Z}\u115f\u1160\u3164\uffa0\u2800]/u.test(character)) return `⟨${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
  return /\p{M}/u.test(character) ? "◌" + character : character;
}

/** A character's name in a sentence: “e”, or a line break. */
function named(character) {
  const names = { "\n": "a line break", " ": "a space", "\t": "a tab", "\r": "a carriage return" };
  return names[character] ?? `“${sign(character)}”`;
}

/** Characters as they stand in a field for typing, which would drop or change control characters; one for one. */
function toField(characters) {
  return characters.map((character) => (/[\0-\x08\x0b-\x1f\x7f]/.test(character) ? sign(character) : character)).join("");
}

/** The characters of what stands in such a field. A sign for a control character is one, where `known` has that. */
function fromField(text, known) {
  return Array.from(text, (character) => {
    const code = character.codePointAt(0) - 0x2400;
    const control = code === 0x21 ? "\x7f" : code >= 0 && code < 0x20 ? String.fromCodePoint(code) : "";
    return control && known.has(control) && !known.has(character) ? control : character;
  });
}

/** How many characters two lists have in common at their beginning. */
function commonStart(a, b) {
  let n = 0;
  while (n < a.length && n < b.length && a[n] === b[n]) n++;
  return n;
}

/** How many they have in common at their end, beside `start` characters at their beginning. */
function commonEnd(a, b, start) {
  let n = 0;
  while (n < Math.min(a.length, b.length) - start && a[a.length - 1 - n] === b[b.length - 1 - n]) n++;
  return n;
}
