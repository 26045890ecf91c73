/** Where the page is narrow it shows one model at a time: a button for each. */

import { byId, el } from "./dom.js";

export function createTabs() {
  let chosen = null; // a model's name

  return {
    /** views: the models shown, by name. */
    render(views) {
      const show = (name) => {
        chosen = name;
        views.forEach(({ node }, other) => node.classList.toggle("chosen", other === name));
        buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.value === name)));
      };
      const buttons = [...views].map(([name, { label }]) => el("button", { type: "button", value: name, click: () => show(name) }, label));
      byId("tabs").hidden = views.size < 2;
      byId("tabs").replaceChildren(...buttons);
      show(views.has(chosen) ? chosen : [...views.keys()][0]);
    },
  };
}
