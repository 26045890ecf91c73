/** Draws a table with bars of how sure the model is after each step. */

import { bar } from "./bar.js";
import { count, el, items, percent } from "./dom.js";

/** pool: the number of items that may be listed. Returns {node, setStep}. */
export function sharpness(answer, k, pool) {
  const known = answer.steps.filter((step) => step.effective_items !== null && step.effective_items !== undefined);
  if (!known.length) return { node: el("div", { class: "sharpness", hidden: true }), setStep() {} };
  const rows = answer.steps.map((step, place) => line(step, place, pool));
  const head = el(
    "tr",
    {},
    el("th", { scope: "col" }, "Step"),
    el("th", { scope: "col", title: "exp of the entropy of the softmax over all allowed items" }, "Spread over"),
    el("th", { scope: "col", title: "Share of the softmax that the list holds" }, `Top ${k} holds`),
  );
  return {
    node: el("div", { class: "sharpness" }, el("h3", {}, "Sharpness"), el("table", {}, el("thead", {}, head), el("tbody", {}, rows))),
    setStep: (step) => rows.forEach((row, place) => row.classList.toggle("now", place === step)),
  };
}

/** 246 of 400 items */
export const spread = (effective, pool) => `${count(effective)} of ${items(pool)}`;

function line(step, place, pool) {
  const share = step.top_share ?? null;
  const effective = step.effective_items ?? null;
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, String(place)),
    el("td", {}, effective === null ? "–" : [bar(effective / pool), el("span", {}, spread(effective, pool))]),
    el("td", {}, share === null ? "–" : [bar(share), el("span", {}, percent(share))]),
  );
}
