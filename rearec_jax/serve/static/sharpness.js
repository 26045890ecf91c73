/** Draws a table with bars of how sure the model is after each step. */

import { bar } from "./bar.js";
import { count, el, percent } from "./dom.js";

/** scale: items that the longest bar stands for, the same for all models. Returns {node, setStep}. */
export function sharpness(answer, k, scale) {
  const known = answer.steps.filter((step) => step.effective_items !== null && step.effective_items !== undefined);
  if (!known.length) return { node: el("div", { class: "sharpness", hidden: true }), setStep() {} };
  const rows = answer.steps.map((step, place) => line(step, place, scale));
  const head = el(
    "tr",
    {},
    el("th", { scope: "col" }, "Step"),
    el("th", { scope: "col", title: "exp of the entropy of the softmax over all allowed items" }, "Hesitates between"),
    el("th", { scope: "col", title: "Share of the softmax that the list holds" }, `Top ${k} holds`),
  );
  return {
    node: el("div", { class: "sharpness" }, el("h3", {}, "Sharpness"), el("table", {}, el("thead", {}, head), el("tbody", {}, rows))),
    setStep: (step) => rows.forEach((row, place) => row.classList.toggle("now", place === step)),
  };
}

function line(step, place, scale) {
  const share = step.top_share ?? null;
  const effective = step.effective_items ?? null;
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, String(place)),
    el("td", {}, effective === null ? "–" : [bar(effective / scale), el("span", {}, `${count(effective)} items`)]),
    el("td", {}, share === null ? "–" : [bar(share), el("span", {}, percent(share))]),
  );
}
