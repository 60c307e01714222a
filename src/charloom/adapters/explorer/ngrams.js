// Character n-grams with Witten–Bell smoothing, as charloom.core.text.ngrams counts them:
//
//     p_n(y | h) = (c(h, y) + N1+(h) p_{n-1}(y | h')) / (c(h) + N1+(h))        p_0(y) = 1 / K
//
// h are the n - 1 characters before y, h' is h without its first one, c counts occurrences in the training text, and
// N1+(h) is the number of distinct characters that follow h there.
"use strict";

class NGrams {
  constructor(ids, vocabularySize, order) {
    Object.assign(this, { ids, K: vocabularySize, order, counts: [] });
    this.contexts = new Float64Array(ids.length); // the number of the n - 1 characters before each place; at first of none
  }

  /** Count the n-grams of the next order; whether it was the last. A page does not freeze between two orders. */
  countOneOrder() {
    const n = this.counts.length + 1, { ids, K, contexts } = this;
    const codes = Float64Array.from({ length: ids.length - n + 1 }, (_, i) => contexts[i] * K + ids[i + n - 1]);
    const sorted = codes.slice().sort();
    const ngrams = sorted.filter((code, i) => i === 0 || code !== sorted[i - 1]); // distinct
    const times = new Float64Array(ngrams.length);
    const numbers = codes.map((code) => placeOf(ngrams, code));
    for (const number of numbers) times[number]++;
    const totals = new Float64Array(n === 1 ? 1 : this.counts.at(-1).ngrams.length), followers = totals.slice();
    ngrams.forEach((code, number) => {
      const context = Math.floor(code / K);
      totals[context] += times[number];
      followers[context]++;
    });
    this.counts.push({ ngrams, times, totals, followers });
    this.contexts = numbers.subarray(0, -1);
    return this.counts.length === this.order;
  }

  /** The losses of a text in nats, -log p of each character from the characters before it; NaN for the first. */
  losses(ids) {
    return ids.map((id, t) => (t ? -Math.log(this.probability(ids, t)) : NaN));
  }

  /** The probability of the character at the place t. */
  probability(ids, t) {
    let p = 1 / this.K;
    for (const [n, { times, totals, followers }] of this.counts.entries()) {
      const context = n <= t ? this.number(ids.slice(t - n, t)) : -1;
      if (context < 0 || !followers[context]) return p; // nor does the training text have longer ones
      const ngram = placeOf(this.counts[n].ngrams, context * this.K + ids[t]);
      p = ((ngram < 0 ? 0 : times[ngram]) + followers[context] * p) / (totals[context] + followers[context]);
    }
    return p;
  }

  /** The number of a context among those of its length; -1 where the training text does not have it. */
  number(characters) {
    let number = 0;
    for (let n = 0; n < characters.length && number >= 0; n++) {
      number = placeOf(this.counts[n].ngrams, number * this.K + characters[n]);
    }
    return number;
  }
}

/** The place of a value in a sorted array; -1 where it is not there. */
function placeOf(sorted, value) {
  let low = 0, high = sorted.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] === value) return middle;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}
