// What Python put into the page: one JSON value, its arrays as base64 of little-endian numbers.
"use strict";

const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const vocabulary = Array.from(data.vocabulary);

/** The numbers of a base64 text: float32, or float16 where `dtype` says so. */
function decodeNumbers(base64, dtype) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  if (dtype === "float16") {
    return Float32Array.from({ length: bytes.length / 2 }, (_, i) => fromFloat16(view.getUint16(2 * i, true)));
  }
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

/** The value of the 16 bits of an IEEE 754 half: sign, 5 bits of exponent, 10 bits of fraction. */
function fromFloat16(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 0x1f, fraction = bits & 0x3ff;
  if (exponent === 0) return sign * 2 ** -14 * (fraction / 1024);
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * 2 ** (exponent - 15) * (1 + fraction / 1024);
}

/** A network whose parameters are in one text, one after the other, in the order of `shapes`. */
function decodeNetwork(data, base64, dtype) {
  const numbers = decodeNumbers(base64, dtype), parameters = {};
  let start = 0;
  for (const [name, [rows, columns = 1]] of Object.entries(data.shapes)) {
    parameters[name] = { rows, columns, values: numbers.subarray(start, start + rows * columns) };
    start += rows * columns;
  }
  return new Network({ ...data, parameters });
}
