// Drawing characters as charloom.core.network.sampling does: argmax(o + τ G) over the likeliest, G standard Gumbel noise.
"use strict";

/**
 * The ids of the likeliest characters, the first of them first: the `top_k` first (0: all), and of these the smallest
 * set whose probability at the temperature is at least `top_p`.
 */
function likeliest(o, { temperature, top_k, top_p }) {
  const order = Array.from(o.keys()).sort((a, b) => o[b] - o[a] || a - b);
  const kept = order.slice(0, top_k || order.length);
  if (top_p < 1 && temperature > 0) {
    const p = softmax(kept.map((k) => o[k]), temperature);
    let sum = 0;
    const last = p.findIndex((value) => (sum += value) >= top_p - 1e-12);
    if (last >= 0) kept.length = last + 1;
  }
  return kept;
}

/** The probability of each character to be drawn, (K): 0 for those that are not among the likeliest. */
function distribution(o, options) {
  const p = new Float64Array(o.length), kept = likeliest(o, options);
  if (options.temperature === 0) {
    p[kept[0]] = 1;
  } else {
    softmax(kept.map((k) => o[k]), options.temperature).forEach((value, place) => (p[kept[place]] = value));
  }
  return p;
}

/** The generator of random numbers in (0, 1) from a seed: sfc32 of PractRand, its state filled by splitmix32. */
function randomNumbers(seed) {
  let mixed = seed >>> 0;
  const splitmix = () => {
    mixed = (mixed + 0x9e3779b9) | 0;
    let z = mixed ^ (mixed >>> 16);
    z = Math.imul(z, 0x21f0aaad);
    z ^= z >>> 15;
    z = Math.imul(z, 0x735a2d97);
    return z ^ (z >>> 15);
  };
  let [a, b, c, d] = [splitmix(), splitmix(), splitmix(), 1];
  const next = () => {
    const sum = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return ((sum >>> 0) + 0.5) / 2 ** 32;
  };
  for (let i = 0; i < 12; i++) next();
  return next;
}

/** One draw for each of K characters, G = -log(-log u): the same for every network that is compared. */
function gumbelNoise(K, random) {
  return vector(K, () => -Math.log(-Math.log(random())));
}

/** The id that the noise draws. */
function draw(o, noise, options) {
  const value = (k) => o[k] + options.temperature * noise[k];
  const isRestricted = options.top_k > 0 || options.top_p < 1;
  const kept = isRestricted ? likeliest(o, options) : Array.from(o.keys());
  return kept.reduce((best, k) => (value(k) > value(best) ? k : best));
}
