/** Draws the attention of each step's token: a bar for each step and each of the items with the largest weights. */

import { bar } from "./bar.js";
import { el, items, nameOf, percent } from "./dom.js";

const SHOWN = 8;

/** Returns {node, setStep}; an empty node if the model has no attention. story: its history gives the items' places. */
export function attention(answer, story) {
  const steps = answer.steps.map((step) => step.attention ?? null);
  if (!answer.history.length || steps.every((weights) => weights === null)) {
    return { node: el("div", { class: "attention", hidden: true }), setStep() {} };
  }
  const most = answer.history.map((_, place) => Math.max(...steps.map((weights) => weights?.[place] ?? 0)));
  const nearest = [...most.keys()].sort((a, b) => most[b] - most[a]).slice(0, SHOWN).sort((a, b) => b - a);
  const longest = Math.max(...most, 1e-9);
  const places = placesOf(answer, story);
  const rows = nearest.map((place) => row(answer.history[place], places[place], steps.map((weights) => weights?.[place] ?? 0), longest));
  const heading = el("h3");
  const rest = answer.history.length - rows.length;
  return {
    node: el(
      "div",
      { class: "attention" },
      heading,
      el("p", { class: "note" }, `Attention to the history, newest first${steps.length > 1 ? "; a bar for each step, the number for this one" : ""}.`),
      el("ul", {}, rows.map(({ node }) => node)),
      rest > 0 && el("p", { class: "note" }, `${items(rest)} more with less attention.`),
    ),
    setStep(step) {
      heading.textContent = steps.length > 1 ? `Where step ${step} looks` : "Where it looks";
      rows.forEach((each) => each.setStep(step));
    },
  };
}

/** Returns the number in the page's history of each item that the model saw: it sees the last ones that it knows. */
function placesOf(answer, story) {
  const unknown = new Set(answer.unknown ?? []);
  const known = [...story.history.keys()].filter((place) => !unknown.has(story.history[place].id));
  return known.slice(known.length - answer.history.length).map((place) => place + 1);
}

function row(item, number, weights, longest) {
  const bars = weights.map((weight) => bar(weight / longest));
  const value = el("span", { class: "value" });
  const node = el(
    "li",
    { "data-item": item.id },
    el("span", { class: "place" }, String(number)),
    el("span", { class: "title", title: nameOf(item) }, nameOf(item)),
    value,
    el("span", { class: "bars", title: weights.map((weight, step) => `step ${step}: ${percent(weight)}`).join(", ") }, bars),
  );
  return {
    node,
    setStep(step) {
      value.textContent = percent(weights[step]);
      bars.forEach((each, place) => each.classList.toggle("now", place === step));
    },
  };
}
