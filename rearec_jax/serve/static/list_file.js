/** A list to take along: as rows with tabs in the clipboard, or as a file of comma-separated values. */

import { el, icon } from "./dom.js";
import { say } from "./messages.js";

/** rows: of cells, the headings first. name: of the file, without its ending. */
export function takeAlong(rows, name) {
  const tabs = () => rows.map((cells) => cells.map((cell) => String(cell).replace(/\s+/g, " ")).join("\t")).join("\n");
  const commas = () => rows.map((cells) => `${cells.map(quoted).join(",")}\r\n`).join("");
  return el(
    "span",
    { class: "tools" },
    button("copy", "Copy the list", async () => say((await copied(tabs())) ? "The list is copied." : "The browser does not permit copying.")),
    button("download", "Download the list", () => download(commas(), `${name}.csv`)),
  );
}

function button(kind, label, press) {
  const pressed = async (event) => {
    const node = event.currentTarget;
    await press();
    node.replaceChildren(icon("tick"));
    setTimeout(() => node.replaceChildren(icon(kind)), 1500);
  };
  return el("button", { type: "button", class: `quiet ${kind}`, "aria-label": label, title: label, click: pressed }, icon(kind));
}

const quoted = (cell) => (/[",\r\n]/.test(cell) ? `"${String(cell).replaceAll('"', '""')}"` : String(cell));

/** Resolves to whether it is. Pages of a plain http address have no clipboard, but may still copy a selection. */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = el("textarea", { class: "unseen" });
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}

function download(text, name) {
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  el("a", { href: address, download: name }).click();
  URL.revokeObjectURL(address);
}
