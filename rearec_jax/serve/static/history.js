/** The history: a list whose items can be removed and moved, and what came next. */

import { byId, el, icon, items, nameOf } from "./dom.js";

/** change: called with the new history. */
export function createHistory(list, { change }) {
  let history = [];
  let refocus = null; // [place, which button], after the list is drawn again

  function move(place, by) {
    const moved = [...history];
    moved.splice(place + by, 0, ...moved.splice(place, 1));
    refocus = [place + by, by < 0 ? "up" : "down"];
    change(moved);
  }

  function remove(place) {
    refocus = [Math.min(place, history.length - 2), "cross"];
    change(history.filter((_, other) => other !== place));
  }

  function button(name, label, press, disabled) {
    return el("button", { type: "button", class: `quiet ${name}`, "aria-label": label, title: label, click: press, disabled }, icon(name));
  }

  function entry(item, place, unknown) {
    const name = nameOf(item);
    return el(
      "li",
      { "data-item": item.id, class: unknown ? "unknown" : null },
      el("span", { class: "title", title: name }, name, unknown && el("small", {}, " unknown to the model")),
      el(
        "span",
        { class: "tools" },
        button("up", `Move ${name} earlier`, () => move(place, -1), place === 0),
        button("down", `Move ${name} later`, () => move(place, 1), place === history.length - 1),
        button("cross", `Remove ${name}`, () => remove(place), false),
      ),
    );
  }

  /** Returns [place, button] of the focus in the list, because drawing the list again loses it. */
  function focused() {
    const button = list.contains(document.activeElement) ? document.activeElement : null;
    const place = [...list.children].findIndex((entry) => entry.contains(button));
    return place < 0 ? null : [place, ["up", "down", "cross"].find((name) => button.classList.contains(name))];
  }

  function focus() {
    if (refocus === null) return;
    const [place, which] = refocus;
    refocus = null;
    const tools = list.children[place]?.querySelector(".tools");
    const wanted = tools?.querySelector(`.${which}:enabled`) || tools?.querySelector("button:enabled");
    (wanted || byId("search")).focus();
  }

  return {
    /** unknown: ids that no model has. */
    render(story, unknown) {
      const { scrollTop } = list;
      const grown = story.history.length > history.length;
      history = story.history;
      refocus ??= focused();
      list.replaceChildren(...history.map((item, place) => entry(item, place, unknown.has(item.id))));
      byId("history-note").textContent = history.length ? `${items(history.length)}, oldest first` : "";
      byId("history-empty").hidden = history.length > 0;
      byId("clear").hidden = history.length === 0;
      byId("sample").classList.toggle("main", history.length === 0);
      target(story.target);
      list.scrollTop = grown ? list.scrollHeight : scrollTop;
      focus();
    },
  };
}

function target(item) {
  const node = byId("target");
  node.hidden = item === null;
  if (item === null) return node.replaceChildren();
  node.dataset.item = item.id;
  node.replaceChildren(el("small", {}, "What came next"), el("span", { class: "title" }, nameOf(item)));
}
