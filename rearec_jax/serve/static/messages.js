/** Shows errors and waiting, and asks for the key. */

import { byId, el } from "./dom.js";

/** Shows an error's sentence with a button that tries again. */
export function showError(error, again) {
  const text = error.message || String(error);
  byId("alert").hidden = false;
  byId("alert").replaceChildren(el("span", {}, text), el("button", { type: "button", click: again }, "Try again"));
}

export function clearError() {
  byId("alert").hidden = true;
  byId("alert").replaceChildren();
}

/** Shows what the page waits for; null hides it. */
export function showWaiting(sentence) {
  byId("waiting").hidden = sentence === null;
  byId("waiting").textContent = sentence ?? "";
}

/** Announces a sentence to screen readers only. */
export function say(sentence) {
  byId("news").textContent = sentence;
}

/** Resolves to the key, or to null if the reader gives none. */
export function askKey(refused) {
  const dialog = byId("key-dialog");
  byId("key").value = "";
  byId("key-note").textContent = refused
    ? "The server does not accept this key. Try another one."
    : "It is kept until this tab is closed, and sent to this server only.";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "ok" ? byId("key").value : null), { once: true });
  });
}
