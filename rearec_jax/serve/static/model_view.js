/** One model's column: what it says after each step. */

import { poolOf, rankWords, stepOf } from "./answer.js";
import { attention } from "./attention.js";
import { bumpChart } from "./bump_chart.js";
import { el, nameOf } from "./dom.js";
import { stepLists } from "./lists.js";
import { sharpness, spread } from "./sharpness.js";

/** add: called with an item to add to the history. */
export function createModelView(model, { add }) {
  const facts = el("p", { class: "facts" });
  const next = el("p", { class: "next", hidden: true });
  const parts = el("div", { class: "parts" });
  const title = el("h2", {}, model.label);
  const node = el("article", { class: "model", "aria-label": model.label, "aria-busy": "true" }, el("div", { class: "head" }, title, facts, next), parts);
  let shown = null;

  function setStep(step) {
    if (!shown) return;
    const own = stepOf(shown.answer, step);
    facts.textContent = inWords(model, shown.answer, own, shown.story);
    for (const view of shown.views) view.setStep(own);
  }

  return {
    node,
    label: model.label,
    setStep,
    lit: (id) => shown?.chart?.lit(id),
    busy: () => node.setAttribute("aria-busy", "true"),
    /** Removes the lists, which would stand beside a history that is not theirs. */
    clear() {
      shown = null;
      node.setAttribute("aria-busy", "false");
      parts.replaceChildren();
      next.hidden = true;
      facts.textContent = "There is no answer for this history and these options.";
    },
    /** targetRanks: the ranks of the item that came next, by step; null if it is not among the first `depth`. */
    show(answer, story, { targetRanks, depth }) {
      node.setAttribute("aria-busy", "false");
      const byModel = answer.by === "model";
      const k = Math.max(...answer.steps.map((step) => step.ids.length), 1);
      const chart = byModel ? bumpChart(answer, k, story.target && { ...story.target, ranks: targetRanks }) : null;
      const lists = stepLists(model, answer, story, add);
      const sharp = byModel ? sharpness(answer, k, poolOf(model, story)) : null;
      const looks = byModel ? attention(answer, story) : null;
      shown = { answer, story, chart, views: [chart, lists, sharp, looks].filter(Boolean) };
      parts.replaceChildren(...shown.views.map((view) => view.node));
      next.hidden = !byModel || story.target === null;
      if (!next.hidden) cameNext(next, story, targetRanks, depth);
    },
  };
}

function cameNext(node, { target, history, excludeSeen }, ranks, depth) {
  const isSeen = excludeSeen && history.some(({ id }) => id === target.id);
  const words = ranks ? rankWords(ranks) : isSeen ? "left out, because it is in the history" : `not among the first ${depth}`;
  node.dataset.item = target.id;
  node.replaceChildren(el("small", {}, "What came next: "), el("b", {}, nameOf(target)), `, ${words}.`);
}

/** Returns a sentence or two about the step. */
function inWords(model, answer, place, story) {
  const step = answer.steps[place];
  if (answer.by === "popularity") {
    const why = story.history.length ? "The model knows no item of this history" : "There is no history yet";
    return `${why}: these are the items most frequent in training, with their counts.`;
  }
  const last = answer.steps.length - 1;
  const when = last === 0 ? "One list, without reasoning" : place === 0 ? "Before reasoning" : `After step ${place}`;
  const parts = [];
  if (step.effective_items) parts.push(`the choice is spread over ${spread(step.effective_items, poolOf(model, story))}`);
  if (place > 0) parts.push(changed(step));
  return `${when}${parts.length ? `: ${parts.join("; ")}` : ""}.`;
}

function changed({ entered, left }) {
  if (!entered.length && !left.length) return "the same items";
  return `${entered.length} entered, ${left.length} left`;
}
