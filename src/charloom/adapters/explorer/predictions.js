// What comes next: the likeliest characters and their probabilities, each a button that lets the text go on with it.
"use strict";

const SHOWN_CANDIDATES = 12;

class Predictions {
  /** `onBranch(id)` when a candidate is pressed. */
  constructor(list, vocabulary, onBranch) {
    Object.assign(this, { list, vocabulary });
    this.buttons = Array.from({ length: Math.min(SHOWN_CANDIDATES, vocabulary.length) }, () => {
      const [item, button, name, bar, p] = ["li", "button", "span", "i", "b"].map((tag) => document.createElement(tag));
      button.type = "button";
      button.className = "candidate";
      button.append(name, bar, p);
      button.addEventListener("click", () => onBranch(Number(button.dataset.id)));
      item.append(button);
      list.append(item);
      return button;
    });
  }

  /** Show p, (K), in the order of the outputs o; `actual` is the id of the character that does come next, or -1. */
  show(o, p, actual) {
    const order = Array.from(o.keys()).sort((a, b) => o[b] - o[a] || a - b);
    this.buttons.forEach((button, rank) => {
      const id = order[rank], [name, bar, percent] = button.children;
      button.dataset.id = id;
      button.classList.toggle("actual", id === actual);
      button.classList.toggle("out", p[id] === 0);
      name.textContent = sign(this.vocabulary[id]) === " " ? "space" : sign(this.vocabulary[id]);
      bar.style.setProperty("--v", p[id]);
      percent.textContent = asPercent(p[id]);
      const said = id === actual ? ", which does come next" : "";
      button.setAttribute("aria-label", `${named(this.vocabulary[id])}, ${asPercent(p[id])}${said}`);
    });
  }
}

/** A probability as a percentage with two or three digits. */
function asPercent(p) {
  const percent = 100 * p;
  return percent && percent < 0.1 ? "< 0.1%" : `${percent.toFixed(percent < 99.95 ? 1 : 0)}%`;
}
