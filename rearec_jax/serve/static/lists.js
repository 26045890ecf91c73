/** The list after each step, with scores and with what entered and left since the step before. */

import { sharesOf, titlesOf } from "./answer.js";
import { count, el, icon, moves, nameOf, percent } from "./dom.js";
import { takeAlong } from "./list_file.js";

const MOVE_MS = 500;

/** add: called with an item. Returns {node, setStep}. */
export function stepLists(model, answer, story, add) {
  const lists = answer.steps.map((step, place) => oneList({ model, answer, story, add, step, place }));
  const node = el("div", { class: "lists" }, lists);
  let shown = lists.length - 1;

  return {
    node,
    setStep(step) {
      const before = places(lists[shown]);
      shown = step;
      lists.forEach((list, place) => list.classList.toggle("now", place === step));
      if (moves()) slide(lists[step], before);
    },
  };
}

function oneList({ model, answer, story, add, step, place }) {
  const titles = titlesOf(answer);
  const item = (id) => ({ id, title: titles.get(id) ?? null });
  const shares = story.shares ? sharesOf(step, model.temperature) : null;
  const scores = step.scores.map((score, at) => {
    if (answer.by === "popularity") return `${count(score)}×`;
    return shares ? percent(shares[at]) : score.toFixed(3);
  });
  const rows = step.ids.map((id, at) => row(item(id), scores[at], { at, place, step, target: story.target, add }));
  const list = el("ol", { keydown: walk }, rows);
  list.querySelector("button")?.setAttribute("tabindex", "0");
  const cells = step.ids.map((id, at) => [at + 1, id, step.titles?.[at] ?? "", shares ? shares[at] : step.scores[at]]);
  const along = takeAlong([["rank", "id", "title", shares ? "share" : "score"], ...cells], `${model.name}-step${place}`);
  const head = el("div", { class: "list-head" }, el("h3", {}, heading(answer, place)), along);
  return el("section", { class: "list" }, head, list, gone(step.left ?? [], item));
}

function heading(answer, place) {
  if (answer.by === "popularity") return "Most frequent in training";
  if (answer.steps.length === 1) return "The list";
  return place === 0 ? "Before reasoning" : `After step ${place}`;
}

function row(item, score, { at, place, step, target, add }) {
  const name = nameOf(item);
  const isNew = place > 0 && (step.entered ?? []).includes(item.id);
  const isTarget = item.id === target?.id;
  return el(
    "li",
    { "data-item": item.id, class: [isNew && "new", isTarget && "is-target"].filter(Boolean).join(" ") || null },
    el("span", { class: "place" }, String(at + 1)),
    el("span", { class: "title", title: name }, name, isNew && el("small", { class: "flag" }, " new"), isTarget && el("small", { class: "flag", title: "What came next" }, " ★")),
    el("span", { class: "score" }, score),
    el("button", { type: "button", class: "quiet plus", tabindex: "-1", "aria-label": `Add ${name} to the history`, title: "Add to the history", click: () => add(item) }, icon("plus")),
  );
}

function gone(left, item) {
  if (!left.length) return null;
  return el("p", { class: "gone" }, el("small", {}, "Left: "), left.flatMap((id, at) => [at ? ", " : "", el("span", { "data-item": id }, nameOf(item(id)))]));
}

/** One tab stop a list; the arrow keys go on from there. */
function walk(event) {
  const by = (event.key === "ArrowDown") - (event.key === "ArrowUp");
  if (!by) return;
  event.preventDefault();
  const buttons = [...event.currentTarget.querySelectorAll("button")];
  const at = buttons.indexOf(document.activeElement);
  const next = buttons[Math.max(0, Math.min(buttons.length - 1, at + by))];
  buttons.forEach((button) => button.setAttribute("tabindex", button === next ? "0" : "-1"));
  next.focus();
}

const places = (list) => new Map([...list.querySelectorAll("ol > li")].map((row) => [row.dataset.item, row.offsetTop]));

/** Rows start where they were in the list shown before; others fade in. */
function slide(list, before) {
  for (const row of list.querySelectorAll("ol > li")) {
    const from = before.get(row.dataset.item);
    const start = from === undefined ? { opacity: 0 } : { transform: `translateY(${from - row.offsetTop}px)` };
    row.animate([start, {}], { duration: MOVE_MS, easing: "ease-in-out" });
  }
}
