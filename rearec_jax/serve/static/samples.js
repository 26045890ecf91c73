/** Users of the test set, one after the other. */

import { api } from "./api.js";
import { byId } from "./dom.js";

/** take: called with {history, target}. The button is missing where the server has no users. */
export async function createSamples({ model, take }) {
  const button = byId("sample");
  const samples = await load(model);
  let next = 0;
  button.hidden = samples.length === 0;
  button.addEventListener("click", () => {
    const sample = samples[next];
    next = (next + 1) % samples.length;
    button.textContent = "Take another user";
    take({ history: sample.history, target: sample.target ?? null });
  });
}

/** A page without sample users is still a page: the models' answers report what is wrong. */
async function load(model) {
  try {
    return (await api.samples(model)).samples;
  } catch {
    return [];
  }
}
