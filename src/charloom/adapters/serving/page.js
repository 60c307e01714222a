// The page on which a model is tried: asks the server what it serves, and shows what it writes while it is written.
"use strict";

const OPTIONS = ["length", "temperature", "top_k", "top_p", "seed"];
const NO_ANSWER = "The server does not answer; is it running?";
const byId = (id) => document.getElementById(id);
let known = new Set(); // the model's characters
let running = null; // the AbortController of the text that is being written

/** What is asked for: the prompt and the options, by the names that the server uses. */
function request() {
  const options = Object.fromEntries(OPTIONS.map((name) => [name, Number(byId(name).value)]));
  return { prompt: byId("prompt").value, ...options };
}

/** Show the sliders' values, what is wrong with the prompt, and how to ask for the same text elsewhere. */
function show() {
  for (const name of ["temperature", "top_k", "top_p"]) byId(`${name}-value`).textContent = byId(name).value;
  if (Number(byId("top_k").value) === 0) byId("top_k-value").textContent = "off";
  const { prompt, ...params } = request();
  const unknown = [...new Set(prompt)].filter((character) => !known.has(character));
  byId("unknown").textContent = unknown.length ? `Not among the model’s characters: ${unknown.join(" ")}` : "";
  byId("curl-stream").textContent = curl("-N ", "stream", { prompt, ...params });
  byId("curl-invocations").textContent = curl("", "invocations", { inputs: [prompt], params });
}

/** The command that sends a body to a path of this server. */
function curl(options, path, body) {
  const quoted = JSON.stringify(body).replaceAll("'", "'\\''");
  return `curl ${options}${location.origin}/${path} -H 'Content-Type: application/json' -d '${quoted}'`;
}

/** Write a text, in the place of the one that is being written. */
async function write() {
  running?.abort();
  const mine = (running = new AbortController());
  const asked = request(), started = performance.now();
  for (const id of ["written", "problem", "progress"]) byId(id).textContent = "";
  byId("given").textContent = asked.prompt;
  byId("stop").disabled = false;
  let written = 0, ending = "stopped";
  try {
    for await (const piece of pieces(asked, mine.signal)) {
      if (running !== mine) return;
      append(piece);
      written += [...piece].length;
    }
    ending = "";
  } catch (error) {
    if (running !== mine) return;
    if (!mine.signal.aborted) {
      ending = "";
      byId("problem").textContent = error instanceof TypeError ? NO_ANSWER : error.message;
    }
  }
  running = null;
  byId("stop").disabled = true;
  const rate = Math.round((1000 * written) / (performance.now() - started));
  const counts = `${written.toLocaleString("en")} characters, ${rate.toLocaleString("en")} per second`;
  byId("progress").textContent = ending || written ? [counts, ending].filter(Boolean).join(", ") : "";
}

/** The pieces of the text that the server writes. Throws an Error with what the server says to a request it refuses. */
async function* pieces(asked, signal) {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch("stream", { method: "POST", headers, body: JSON.stringify(asked), signal });
  if (!answer.ok) throw new Error((await answer.json()).message);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

/** Add to the text, and keep its end in sight for who is looking at its end. */
function append(piece) {
  const text = byId("text");
  const atEnd = text.scrollTop + text.clientHeight > text.scrollHeight - 30;
  byId("written").append(piece);
  if (atEnd) text.scrollTop = text.scrollHeight;
}

/** Start a text where everything that is asked for is in its range; the browser says what is not. */
function start(event) {
  event?.preventDefault();
  if (byId("form").reportValidity()) write();
}

async function main() {
  const model = await (await fetch("model")).json();
  known = new Set(model.characters);
  byId("name").textContent = model.name;
  byId("description").textContent = model.description;
  byId("top_k").max = known.size;
  byId("length").max = model.most_characters;
  for (const name of OPTIONS) byId(name).value = model.defaults[name];
  byId("form").addEventListener("submit", start);
  byId("form").addEventListener("input", show);
  byId("prompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) start(event);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") running?.abort();
  });
  byId("stop").addEventListener("click", () => running?.abort());
  byId("another").addEventListener("click", () => {
    byId("seed").value = crypto.getRandomValues(new Uint32Array(1))[0];
    show();
    start();
  });
  show();
}

main().catch(() => (byId("problem").textContent = NO_ANSWER));
