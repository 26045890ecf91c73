/** The search for items: a combobox with a list below it (ARIA's pattern of that name). */

import { count, el, nameOf } from "./dom.js";

const PAUSE_MS = 150; // of typing, before the server is asked

/**
 * find: text → promise of items; choose: called with an item; failed: with an error;
 * say: with a sentence for screen readers.
 */
export function createSearch(input, list, { find, choose, failed, say }) {
  let found = [];
  let active = -1;
  let timer = null;
  let asked = 0; // the number of the latest search: answers to earlier ones come too late

  function show(items, text) {
    found = items;
    list.replaceChildren(...items.map(option));
    if (!items.length) list.append(el("li", { class: "none", role: "presentation" }, `No item has “${text}” in its title.`));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    activate(text && items.length ? 0 : -1);
    say(items.length ? `${items.length} items found.` : "No item found.");
  }

  function close() {
    asked += 1;
    clearTimeout(timer);
    found = [];
    activate(-1);
    list.replaceChildren();
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
  }

  function option(item, index) {
    return el(
      "li",
      { role: "option", id: `found-${index}`, click: () => take(index) },
      el("span", { class: "title" }, nameOf(item)),
      el("small", { title: `${item.count} times in the training data` }, `${count(item.count)}×`),
    );
  }

  function activate(index) {
    active = index;
    [...list.children].forEach((node, place) => node.setAttribute("aria-selected", String(place === index)));
    if (index < 0) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", `found-${index}`);
    list.children[index].scrollIntoView({ block: "nearest" });
  }

  function take(index) {
    const item = found[index];
    input.value = "";
    close();
    choose(item);
  }

  async function ask() {
    const text = input.value.trim();
    const mine = (asked += 1);
    try {
      const items = await find(text);
      if (mine === asked) show(items, text);
    } catch (error) {
      if (mine === asked) failed(error);
    }
  }

  function later() {
    clearTimeout(timer);
    timer = setTimeout(ask, PAUSE_MS);
  }

  const move = (by) => (found.length ? activate((active + by + found.length) % found.length) : ask());
  const keys = new Map([
    ["ArrowDown", () => move(1)],
    ["ArrowUp", () => move(active < 0 ? 0 : -1)],
    ["Enter", () => (list.hidden ? input.value.trim() && ask() : active >= 0 && take(active))],
    ["Escape", () => (list.hidden ? (input.value = "") : close())],
  ]);

  input.addEventListener("input", () => (input.value.trim() ? later() : close()));
  input.addEventListener("click", () => list.hidden && ask());
  input.addEventListener("blur", close);
  list.addEventListener("mousedown", (event) => event.preventDefault()); // the focus stays in the input
  input.addEventListener("keydown", (event) => {
    if (event.isComposing || !keys.has(event.key)) return;
    event.preventDefault();
    keys.get(event.key)();
  });
}
