/** Which step is shown: buttons, the left and right keys, and playing through all of them. */

import { byId, el, icon } from "./dom.js";

const STEP_MS = 1600;

/** show: called with the step, and whether the reader asked for it. */
export function createStepper({ show }) {
  const [bar, back, play, next, track] = ["stepper", "back", "play", "next", "track"].map(byId);
  let last = 0;
  let step = 0;
  let timer = null;
  back.append(icon("left"));
  next.append(icon("right"));
  back.addEventListener("click", () => go(step - 1));
  next.addEventListener("click", () => go(step + 1));
  play.addEventListener("click", () => (timer === null ? start() : stop()));
  document.addEventListener("keydown", onKey);
  label();

  function go(to) {
    stop();
    set(to);
  }

  function set(to, asked = true) {
    step = Math.max(0, Math.min(last, to));
    back.disabled = step === 0;
    next.disabled = step === last;
    [...track.children].forEach((node, place) => {
      node.classList.toggle("done", place <= step);
      node.firstChild[place === step ? "setAttribute" : "removeAttribute"]("aria-current", "step");
    });
    show(step, asked);
  }

  function start() {
    timer = setInterval(() => (step < last ? set(step + 1) : stop()), STEP_MS);
    label();
    set(step < last ? step : 0);
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    label();
  }

  function label() {
    const playing = timer !== null;
    play.replaceChildren(icon(playing ? "pause" : "play"), playing ? "Pause" : "Play");
  }

  function onKey(event) {
    const by = (event.key === "ArrowRight") - (event.key === "ArrowLeft");
    const plain = !(event.altKey || event.ctrlKey || event.metaKey || event.shiftKey);
    if (!by || !plain || bar.hidden || event.target.closest("input, select, textarea, dialog")) return;
    event.preventDefault();
    go(step + by);
  }

  function mark(place) {
    const name = place === 0 ? "Before reasoning" : `After step ${place}`;
    return el("li", {}, el("button", { type: "button", "aria-label": name, title: name, click: () => go(place) }, String(place)));
  }

  return {
    /** steps: the greatest step of the answers. Shows the last one, until the reader chooses another. */
    reset(steps) {
      stop();
      const stays = step < last;
      last = steps;
      bar.hidden = last === 0;
      track.replaceChildren(...Array.from({ length: last + 1 }, (_, place) => mark(place)));
      set(stays ? step : last, false);
    },
  };
}
