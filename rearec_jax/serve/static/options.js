/** List length, steps, models, how scores are shown, and which items may be listed. */

import { byId, el } from "./dom.js";
import { LENGTHS } from "./story.js";

/** change: called with the changed fields of the story. */
export function createOptions(models, { change }) {
  const [k, steps, scores, excludeSeen, exclude, candidates] = ["k", "steps", "scores", "exclude-seen", "exclude", "candidates"].map(byId);
  const boxes = models.map((model) => el("input", { type: "checkbox", value: model.name, change: chosen }));
  k.addEventListener("change", () => change({ k: Number(k.value) }));
  steps.addEventListener("change", () => change({ steps: steps.value === "" ? null : Number(steps.value) }));
  scores.addEventListener("change", () => change({ shares: scores.value === "share" }));
  excludeSeen.addEventListener("change", () => change({ excludeSeen: excludeSeen.checked }));
  exclude.addEventListener("change", () => change({ exclude: idsIn(exclude.value) }));
  candidates.addEventListener("change", () => change({ candidates: idsIn(candidates.value) }));
  byId("models").append(...models.map((model, place) => el("label", { class: "check" }, boxes[place], ` ${model.label}`)));
  byId("options").open = window.matchMedia("(min-width: 60rem)").matches; // else the lists are far below
  byId("models").hidden = models.length < 2;

  function chosen() {
    change({ models: boxes.filter((box) => box.checked).map((box) => box.value) });
  }

  return {
    /** shown: names of the models that are shown. */
    render(story, shown) {
      const lengths = [...new Set([...LENGTHS, story.k])].sort((a, b) => a - b);
      choices(k, lengths.map((length) => [length, length]), story.k);
      const most = Math.max(...models.filter(({ name }) => shown.includes(name)).map((model) => model.steps));
      const fewer = Array.from({ length: most }, (_, step) => [step, step === 0 ? "none" : step]);
      choices(steps, [["", most ? `as trained (${most})` : "as trained (none)"], ...fewer], story.steps ?? "");
      if (steps.selectedIndex < 0) steps.selectedIndex = 0; // more than trained: as trained
      steps.disabled = most === 0;
      excludeSeen.checked = story.excludeSeen;
      scores.value = story.shares ? "share" : "raw";
      exclude.value = story.exclude.join(", ");
      candidates.value = story.candidates.join(", ");
      for (const box of boxes) {
        box.checked = shown.includes(box.value);
        box.disabled = box.checked && shown.length === 1; // one stays
      }
    },
  };
}

const idsIn = (text) => [...new Set(text.split(/[,\n]/).map((id) => id.trim()).filter(Boolean))];

function choices(select, pairs, value) {
  const shown = [...select.options].map(({ value, text }) => [value, text]);
  if (String(shown) !== String(pairs)) select.replaceChildren(...pairs.map(([option, label]) => el("option", { value: option }, String(label))));
  select.value = String(value);
}
