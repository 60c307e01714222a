// The text, one element for each character: coloured, chosen with the pointer or the keyboard.
"use strict";

class CharacterPanel {
  /** `onChoose(index)` when a character is chosen, `onPoint(index)` when the pointer is on one, or leaves it: null. */
  constructor(panel, { onChoose, onPoint }) {
    this.panel = panel;
    this.characters = [];
    this.elements = [];
    this.made = 0; // elements, each with an id of its own
    const indexOf = (event) => this.elements.indexOf(event.target.closest(".characters > span"));
    panel.addEventListener("click", (event) => {
      if (indexOf(event) >= 0) onChoose(indexOf(event));
    });
    panel.addEventListener("pointerover", (event) => onPoint(indexOf(event) >= 0 ? indexOf(event) : null));
    panel.addEventListener("pointerleave", () => onPoint(null));
    panel.addEventListener("keydown", (event) => {
      const target = this.target(event.key);
      if (target === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      onPoint(null);
      onChoose(target);
    });
  }

  /** The index that a key leads to; undefined for other keys. */
  target(key) {
    const last = this.characters.length - 1, at = this.selected ?? last;
    const moves = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last, PageUp: at - 100, PageDown: at + 100 };
    if (key === "ArrowUp") moves[key] = this.nearestLine(at, -1);
    if (key === "ArrowDown") moves[key] = this.nearestLine(at, 1);
    return key in moves ? Math.max(0, Math.min(last, moves[key])) : undefined;
  }

  /** The index nearest to the one at `at`, on the line above (-1) or below (1). */
  nearestLine(at, direction) {
    const from = this.elements[at]?.getBoundingClientRect();
    for (let i = at + direction, best = null; from && this.elements[i]; i += direction) {
      const here = this.elements[i].getBoundingClientRect(), distance = Math.abs(here.left - from.left);
      if (best && here.top !== best.top) return best.index;
      if (here.top !== from.top && (!best || distance < best.distance)) best = { index: i, distance, top: here.top };
      if (best && !this.elements[i + direction]) return best.index;
    }
    return at;
  }

  /** Show this text; the elements of what it begins and ends with as before stay. */
  show(characters, isKnown) {
    const start = commonStart(this.characters, characters);
    const end = commonEnd(this.characters, characters, start), upTo = this.elements.length - end;
    const added = characters.slice(start, characters.length - end).map((character) => {
      const element = document.createElement("span");
      element.id = `character-${this.made++}`;
      element.setAttribute("role", "option");
      element.setAttribute("aria-selected", "false");
      const shown = sign(character);
      element.textContent = character === "\n" || character === "\t" ? shown + character : shown;
      element.classList.toggle("sign", shown !== character && !/\p{M}/u.test(character));
      element.classList.toggle("unread", !isKnown(character));
      return element;
    });
    const following = this.elements[upTo] ?? null, fragment = document.createDocumentFragment();
    fragment.append(...added);
    for (const element of this.elements.splice(start, upTo - start, ...added)) element.remove();
    this.panel.insertBefore(fragment, following);
    this.characters = characters;
  }

  /** Colour each character by `value(index)`, from -1 (cool) over 0 (no colour) to 1 (warm); undefined: as it is. */
  colour(value) {
    this.elements.forEach((element, index) => {
      const found = value(index), v = found || 0;
      if (found === undefined) return;
      const shown = Math.min(1, Math.abs(v)).toFixed(3);
      if (element.style.getPropertyValue("--v") !== shown) element.style.setProperty("--v", shown);
      element.classList.toggle("cool", v < 0);
    });
  }

  /** Mark the character at `index` as chosen, with what a screen reader says of it, and the ones after `faint`. */
  select(index, description, faint = Infinity) {
    this.element?.setAttribute("aria-selected", "false");
    this.element?.removeAttribute("aria-label");
    const element = this.elements[index];
    this.element = element;
    this.selected = element ? index : undefined;
    this.elements.forEach((each, i) => each.classList.toggle("after", i > faint));
    if (!element) {
      this.panel.removeAttribute("aria-activedescendant");
      return;
    }
    element.setAttribute("aria-selected", "true");
    element.setAttribute("aria-label", description);
    this.panel.setAttribute("aria-activedescendant", element.id);
    const { offsetTop, offsetHeight } = element, { scrollTop, clientHeight } = this.panel;
    if (offsetTop < scrollTop) this.panel.scrollTop = offsetTop - offsetHeight;
    if (offsetTop + offsetHeight > scrollTop + clientHeight) this.panel.scrollTop = offsetTop + 2 * offsetHeight - clientHeight;
  }
}
