/** The list after each step, with scores and with what entered and left since the step before. */

import { count, el, icon, moves, nameOf } from "./dom.js";

const MOVE_MS = 500;

/** add: called with an item. Returns {node, setStep}. */
export function stepLists(answer, target, add) {
  const lists = answer.steps.map((step, place) => oneList(answer, step, place, target, add));
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

function oneList(answer, step, place, target, add) {
  const titles = new Map([...answer.steps, { ids: [] }].flatMap((other) => other.ids.map((id, at) => [id, other.titles?.[at] ?? null])));
  const item = (id) => ({ id, title: titles.get(id) ?? null });
  const rows = step.ids.map((id, at) => row(item(id), step.scores[at], { answer, at, place, step, target, add }));
  const list = el("ol", { keydown: walk }, rows);
  list.querySelector("button")?.setAttribute("tabindex", "0");
  return el("section", { class: "list" }, el("h3", {}, heading(answer, place)), list, gone(step.left ?? [], item));
}

function heading(answer, place) {
  if (answer.by === "popularity") return "Most frequent in training";
  if (answer.steps.length === 1) return "The list";
  return place === 0 ? "Before reasoning" : `After step ${place}`;
}

function row(item, score, { answer, at, place, step, target, add }) {
  const name = nameOf(item);
  const isNew = place > 0 && (step.entered ?? []).includes(item.id);
  const isTarget = item.id === target?.id;
  return el(
    "li",
    { "data-item": item.id, class: [isNew && "new", isTarget && "is-target"].filter(Boolean).join(" ") || null },
    el("span", { class: "place" }, String(at + 1)),
    el("span", { class: "title", title: name }, name, isNew && el("small", { class: "flag" }, " new"), isTarget && el("small", { class: "flag", title: "What came next" }, " ★")),
    el("span", { class: "score" }, answer.by === "popularity" ? `${count(score)}×` : score.toFixed(3)),
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
