// A text as the network reads it, character by character; an edit computes again only what comes after it.
"use strict";

class Reading {
  /** `vocabulary` is the list of characters; the id of one is its place. */
  constructor(network, vocabulary) {
    this.vocabulary = vocabulary;
    this.ids = new Map(vocabulary.map((character, id) => [character, id]));
    this.use(network);
  }

  /** Read the same text with another network. */
  use(network) {
    this.network = network;
    this.characters = [];
    this.known = []; // the ids of the characters that the vocabulary has; the network does not see the others
    this.place = []; // of each character among the known ones; -1 for an unknown one
    this.steps = [network.start()]; // steps[n]: after n known characters
    this.opening = network.step(this.steps[0], this.ids.get("\n") ?? 0); // an empty text starts as after a line break
    this.losses = []; // of the known characters, in nats; NaN for the first, which nothing was read before
  }

  /** Take the text, and keep what was read of its beginning. */
  edit(characters) {
    const kept = commonStart(this.characters, characters);
    this.known.length = this.place.slice(0, kept).filter((place) => place >= 0).length;
    this.place.length = kept;
    for (const character of characters.slice(kept)) {
      const id = this.ids.get(character);
      this.place.push(id === undefined ? -1 : this.known.push(id) - 1);
    }
    this.characters = characters;
    const read = Math.min(this.steps.length - 1, this.knownBefore(kept));
    this.steps.length = read + 1;
    this.losses.length = Math.min(this.losses.length, read);
  }

  /** Read on until the end, or for so many milliseconds; whether that was the end. */
  advance(milliseconds = Infinity) {
    const until = performance.now() + milliseconds;
    while (this.steps.length <= this.known.length) {
      const place = this.steps.length - 1, id = this.known[place], before = this.steps[place];
      this.losses.push(place ? lossOf(this.network.outputs(before), id) : NaN);
      this.steps.push(this.network.step(before, id));
      if (performance.now() > until) return this.steps.length > this.known.length;
    }
    return true;
  }

  /** How many of the first `count` characters are known. */
  knownBefore(count) {
    for (let i = count - 1; i >= 0; i--) if (this.place[i] >= 0) return this.place[i] + 1;
    return 0;
  }

  /** The time step after `count` characters; undefined where it was not read yet. */
  after(count) {
    const known = this.knownBefore(count);
    return known ? this.steps[known] : this.opening;
  }

  /** The loss of the character at `index` in nats; NaN where there is none. */
  loss(index) {
    const place = this.place[index];
    return place >= 0 ? this.losses[place] ?? NaN : NaN;
  }

  /** Whether the character at `index` was read. */
  isRead(index) {
    return this.place[index] < this.steps.length - 1;
  }

  /** The mean loss of the text in nats per character; NaN where nothing is predicted. */
  meanLoss() {
    const losses = this.losses.slice(1);
    return losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
  }

  /** ∂L/∂x_s of the character at `index`: for each character before it an array (K), or null for an unknown one. */
  gradients(index) {
    const found = this.network.gradients(this.steps, this.known, this.place[index]);
    return this.place.slice(0, index).map((place) => (place >= 0 ? found[place] : null));
  }
}
