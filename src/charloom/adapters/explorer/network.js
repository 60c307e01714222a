// The network: the three cells forward and backward, in the symbols of docs/backpropagation.md.
//
//     a_t = W h_{t-1} + U x_t + b        h_t = tanh(a_t)          (or another cell's equations)
//     o_t = V h_t + c                    p_t = softmax(o_t)       L_t = -log p_{t-1}[x_t]
//
// A matrix is {rows, columns, values}, values row by row. One time step of one layer is an object of vectors, such as
// {h} or {h, r, z, n, q}; one time step of the network is an array of them, one for each layer. Nothing is overwritten:
// a text that is edited keeps the time steps before the edit. Knows nothing about the page.
"use strict";

/** y = A x. Four sums that do not wait for each other take two thirds of the time of one. */
function times({ rows, columns, values }, x) {
  const y = new Float64Array(rows);
  for (let i = 0, place = 0; i < rows; i++) {
    let j = 0, s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (; j + 3 < columns; j += 4, place += 4) {
      s0 += values[place] * x[j];
      s1 += values[place + 1] * x[j + 1];
      s2 += values[place + 2] * x[j + 2];
      s3 += values[place + 3] * x[j + 3];
    }
    for (; j < columns; j++) s0 += values[place++] * x[j];
    y[i] = s0 + s1 + (s2 + s3);
  }
  return y;
}

/** y = Aᵀ x */
function transposedTimes(A, x) {
  const y = new Float64Array(A.columns);
  for (let i = 0, place = 0; i < A.rows; i++) {
    const x_i = x[i];
    for (let j = 0; j < A.columns; j++) y[j] += A.values[place++] * x_i;
  }
  return y;
}

/** The vector whose entry i is f(i), for i < n. */
function vector(n, f) {
  const y = new Float64Array(n);
  for (let i = 0; i < n; i++) y[i] = f(i);
  return y;
}

/** The column j of A: the product of A and a one-hot vector. */
function column({ rows, columns, values }, j) {
  return vector(rows, (i) => values[i * columns + j]);
}

const sigmoid = (a) => 0.5 + 0.5 * Math.tanh(0.5 * a);

/**
 * The cells. `step` computes a time step of a layer from `projection`, U x_t + b, and the time step `before`; every
 * vector passes through `hold(name, vector)`, which may set a unit to a value of the reader's choice. `backward` gives
 * da, the gradient of U x_t + b, and the gradients of what the time step before handed on.
 */
const CELLS = {
  rnn: {
    vectors: ["h"],
    carried: ["h"],
    step({ W }, projection, before, hold) {
      const Wh = times(W, before.h);
      return { h: hold("h", vector(Wh.length, (i) => Math.tanh(Wh[i] + projection[i]))) };
    },
    backward({ W }, now, before, { h: dh }) {
      const da = vector(dh.length, (i) => dh[i] * (1 - now.h[i] ** 2));
      return { da, next: { h: transposedTimes(W, da) } };
    },
  },

  // Gates in the order r, z, n; the reset gate is applied after the product, and bn is a bias of the product.
  gru: {
    vectors: ["h", "r", "z", "n"],
    carried: ["h"],
    step({ W, bn }, projection, before, hold) {
      const Wh = times(W, before.h), m = before.h.length;
      const r = hold("r", vector(m, (i) => sigmoid(Wh[i] + projection[i])));
      const z = hold("z", vector(m, (i) => sigmoid(Wh[m + i] + projection[m + i])));
      const q = vector(m, (i) => Wh[2 * m + i] + bn.values[i]);
      const n = hold("n", vector(m, (i) => Math.tanh(r[i] * q[i] + projection[2 * m + i])));
      const h = hold("h", vector(m, (i) => n[i] + z[i] * (before.h[i] - n[i])));
      return { h, r, z, n, q };
    },
    backward({ W }, { r, z, n, q }, before, { h: dh }) {
      const m = dh.length, da = new Float64Array(3 * m), d_product = new Float64Array(3 * m);
      for (let i = 0; i < m; i++) {
        const da_z = dh[i] * (before.h[i] - n[i]) * z[i] * (1 - z[i]);
        const da_n = dh[i] * (1 - z[i]) * (1 - n[i] ** 2);
        const da_r = da_n * q[i] * r[i] * (1 - r[i]);
        const dq = da_n * r[i];
        da[i] = d_product[i] = da_r;
        da[m + i] = d_product[m + i] = da_z;
        da[2 * m + i] = da_n;
        d_product[2 * m + i] = dq;
      }
      const dh_next = transposedTimes(W, d_product);
      for (let i = 0; i < m; i++) dh_next[i] += dh[i] * z[i];
      return { da, next: { h: dh_next } };
    },
  },

  // Gates in the order o, i, f, g; the state is h and c.
  lstm: {
    vectors: ["h", "c", "o", "i", "f", "g"],
    carried: ["h", "c"],
    step({ W }, projection, before, hold) {
      const Wh = times(W, before.h), m = before.h.length;
      const a = vector(4 * m, (i) => Wh[i] + projection[i]);
      const o = hold("o", vector(m, (k) => sigmoid(a[k])));
      const i = hold("i", vector(m, (k) => sigmoid(a[m + k])));
      const f = hold("f", vector(m, (k) => sigmoid(a[2 * m + k])));
      const g = hold("g", vector(m, (k) => Math.tanh(a[3 * m + k])));
      const c = hold("c", vector(m, (k) => f[k] * before.c[k] + i[k] * g[k]));
      const h = hold("h", vector(m, (k) => o[k] * Math.tanh(c[k])));
      return { h, c, o, i, f, g };
    },
    backward({ W }, { c, o, i, f, g }, before, { h: dh, c: dc_next }) {
      const m = dh.length, da = new Float64Array(4 * m), dc_before = new Float64Array(m);
      for (let k = 0; k < m; k++) {
        const tanh_c = Math.tanh(c[k]);
        const dc = dh[k] * o[k] * (1 - tanh_c ** 2) + dc_next[k];
        da[k] = dh[k] * tanh_c * o[k] * (1 - o[k]);
        da[m + k] = dc * g[k] * i[k] * (1 - i[k]);
        da[2 * m + k] = dc * before.c[k] * f[k] * (1 - f[k]);
        da[3 * m + k] = dc * i[k] * (1 - g[k] ** 2);
        dc_before[k] = dc * f[k];
      }
      return { da, next: { h: transposedTimes(W, da), c: dc_before } };
    },
  },
};

const asItIs = (_layer, _name, values) => values;

class Network {
  /** `parameters` has the matrices by their names: W, U, b, …, layer1.W, …, V, c. A vector has one row per entry. */
  constructor({ cell, hidden_size, layers, parameters }) {
    Object.assign(this, { cell: CELLS[cell], m: hidden_size, V: parameters.V, c: parameters.c.values });
    this.layers = Array.from({ length: layers }, (_, layer) => {
      const prefix = layer ? `layer${layer}.` : "";
      const own = Object.entries(parameters).filter(([name]) => name.startsWith(prefix) && (layer || !name.includes(".")));
      return Object.fromEntries(own.map(([name, matrix]) => [name.slice(prefix.length), matrix]));
    });
  }

  /** The time step before a text: zeros. */
  start() {
    const zeros = () => Object.fromEntries(this.cell.carried.map((name) => [name, new Float64Array(this.m)]));
    return this.layers.map(zeros);
  }

  /** The time step that reads the character `id`. `hold(layer, name, vector)` may change and must return a vector. */
  step(before, id, hold = asItIs) {
    const now = [];
    this.layers.forEach((params, layer) => {
      const projection = layer ? times(params.U, now[layer - 1].h) : column(params.U, id);
      for (let i = 0; i < projection.length; i++) projection[i] += params.b.values[i];
      now.push(this.cell.step(params, projection, before[layer], (name, values) => hold(layer, name, values)));
    });
    return now;
  }

  /** o_t = V h_t + c of a time step, (K). */
  outputs(now) {
    const Vh = times(this.V, now.at(-1).h);
    return vector(Vh.length, (k) => Vh[k] + this.c[k]);
  }

  /**
   * The gradients of a character's loss with respect to every x_s before it, as a real vector in place of the one-hot:
   * ∂L_t/∂x_s = Uᵀ da_s, (K) for each s < t.
   *
   * `steps[0]` is the time step before the text and `steps[s + 1]` the one that read `ids[s]`; L_t = -log p_{t-1}[ids[t]].
   */
  gradients(steps, ids, t) {
    const found = new Array(t), top = this.layers.length - 1;
    const carried = this.start(); // dh_next (and dc_next) of each layer
    const p = softmax(this.outputs(steps[t]));
    const do_t = p.map((value, k) => value - (k === ids[t] ? 1 : 0));
    let upstream = transposedTimes(this.V, do_t); // of the top layer's last h; no later loss reaches the others
    for (let s = t - 1; s >= 0; s--) {
      for (let layer = top; layer >= 0; layer--) {
        const { h: dh_next, ...others } = carried[layer];
        const dh = upstream ? vector(this.m, (i) => dh_next[i] + upstream[i]) : dh_next;
        const state = { ...others, h: dh };
        const { da, next } = this.cell.backward(this.layers[layer], steps[s + 1][layer], steps[s][layer], state);
        carried[layer] = next;
        upstream = transposedTimes(this.layers[layer].U, da);
      }
      found[s] = upstream;
      upstream = null;
    }
    return found;
  }
}

/** p = softmax(o / τ). */
function softmax(o, temperature = 1) {
  const highest = largest(o), p = vector(o.length, (k) => Math.exp((o[k] - highest) / temperature));
  let sum = 0;
  for (const value of p) sum += value;
  return p.map((value) => value / sum);
}

/** The loss of a character in nats: -log softmax(o)[id], without forming p. */
function lossOf(o, id) {
  const highest = largest(o);
  let sum = 0;
  for (const value of o) sum += Math.exp(value - highest);
  return Math.log(sum) - (o[id] - highest);
}

function largest(values) {
  let highest = -Infinity;
  for (const value of values) if (value > highest) highest = value;
  return highest;
}
