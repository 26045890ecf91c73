/** Draws the attention of each step's token: a bar for each step and each of the items with the largest weights. */

import { bar } from "./bar.js";
import { el, items, nameOf, percent } from "./dom.js";

const SHOWN = 8;

/** Returns {node, setStep}; an empty node if the model has no attention. */
export function attention(answer) {
  const steps = answer.steps.map((step) => step.attention ?? null);
  if (!answer.history.length || steps.every((weights) => weights === null)) {
    return { node: el("div", { class: "attention", hidden: true }), setStep() {} };
  }
  const most = answer.history.map((_, place) => Math.max(...steps.map((weights) => weights?.[place] ?? 0)));
  const nearest = [...most.keys()].sort((a, b) => most[b] - most[a]).slice(0, SHOWN).sort((a, b) => b - a);
  const longest = Math.max(...most, 1e-9);
  const rows = nearest.map((place) => row(answer.history[place], steps.map((weights) => weights?.[place] ?? 0), longest));
  const rest = answer.history.length - rows.length;
  return {
    node: el(
      "div",
      { class: "attention" },
      el("h3", {}, "Where it looks"),
      el("p", { class: "note" }, steps.length > 1 ? "Attention to the history, newest first; a bar a step." : "Attention to the history, newest first."),
      el("ul", {}, rows.map(({ node }) => node)),
      rest > 0 && el("p", { class: "note" }, `${items(rest)} more with less attention.`),
    ),
    setStep: (step) => rows.forEach((each) => each.setStep(step)),
  };
}

function row(item, weights, longest) {
  const bars = weights.map((weight) => bar(weight / longest));
  const value = el("span", { class: "value" });
  const node = el(
    "li",
    { "data-item": item.id },
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
