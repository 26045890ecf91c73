/**
 * Ranks of all listed items over the steps: a line an item. The top k have a row each; below the
 * axis, ranks beyond k on a logarithmic scale. Drawn again when its width changes.
 */

import { listedItems, rankWords } from "./answer.js";
import { count, el, items, nameOf, svg } from "./dom.js";

const TOP = 34;
const LEFT = 30;
const BELOW = 92; // height of the part below the axis
const GAP = 16; // from the axis to rank k + 1
const TICKS = [20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 100000, 1000000];
const LABEL_FONT = "12.5px system-ui, -apple-system, \"Segoe UI\", \"Helvetica Neue\", Arial, \"Noto Sans\", sans-serif";

/** target: {id, title, ranks} or null. Returns {node, setStep, lit}. */
export function bumpChart(answer, k, target) {
  const listed = listedItems(answer, k, target);
  const picture = svg("svg", { role: "img", "aria-label": inWords(listed, answer.steps.length, k) });
  const readout = el("figcaption", { class: "readout" });
  const node = el("figure", { class: "bumps" }, picture, legend(listed, target, answer.steps.length), readout);
  let step = answer.steps.length - 1;
  let marked = null;

  function draw() {
    const width = Math.floor(node.clientWidth);
    if (!width) return;
    const place = geometry(width, k, listed, answer.steps.length);
    picture.setAttribute("viewBox", `0 0 ${width} ${place.height}`);
    picture.setAttribute("height", place.height);
    const lines = [...listed].reverse().map((item) => line(item, place, item.id === target?.id));
    picture.replaceChildren(band(place), ...axes(place), ...lines);
    setStep(step);
    lit(marked);
  }

  function setStep(to) {
    step = to;
    picture.querySelectorAll("[data-step]").forEach((part) => {
      part.classList.toggle("later", Number(part.dataset.step) > to);
      part.classList.toggle("now", Number(part.dataset.step) === to);
    });
    const shown = picture.querySelector(".band");
    if (shown) shown.style.transform = `translateX(${shown.dataset.at.split(" ")[to]}px)`;
  }

  function lit(id) {
    marked = id;
    const item = listed.find((other) => other.id === id);
    picture.classList.toggle("has-lit", item !== undefined);
    picture.querySelectorAll(".line").forEach((part) => part.classList.toggle("lit", part.dataset.item === id));
    readout.textContent = item ? `${nameOf(item)}: ${rankWords(item.ranks)}` : "\u00a0";
  }

  new ResizeObserver(draw).observe(node);
  lit(null);
  return { node, setStep, lit };
}

/** Returns the pixel positions of steps and ranks. */
function geometry(width, k, listed, steps) {
  const row = k <= 10 ? 27 : k <= 20 ? 21 : 15;
  const labels = Math.max(100, Math.min(300, 0.52 * width));
  const right = steps > 1 ? width - labels : LEFT + 10;
  const floor = TOP + k * row;
  const worst = Math.max(k, ...listed.flatMap(({ ranks }) => ranks.filter((rank) => rank !== null)));
  const depth = (rank) => (Math.log(rank / (k + 1)) / Math.max(Math.log(worst / (k + 1)), 0.7)) * (BELOW - GAP - 12);
  return {
    k,
    steps,
    row,
    right,
    floor,
    worst,
    height: floor + (worst > k ? BELOW : 8),
    room: width - right - 16,
    x: (step) => (steps > 1 ? LEFT + 14 + (step * (right - LEFT - 14)) / (steps - 1) : right),
    y: (rank) => (rank <= k ? TOP + (rank - 0.5) * row : floor + GAP + depth(rank)),
  };
}

function band({ x, steps, floor }) {
  const at = Array.from({ length: steps }, (_, step) => x(step));
  return svg("rect", { class: "band", x: -13, y: 4, width: 26, height: floor - 4, rx: 13, "data-at": at.join(" ") });
}

function axes(place) {
  const { k, steps, worst, floor, right, x, y } = place;
  const text = (x, y, words, kind) => svg("text", { x, y, class: kind }, String(words));
  const title = text(0, 21, "step", "axis");
  const heads = Array.from({ length: steps }, (_, step) => {
    const head = text(x(step), 21, step, "head");
    head.dataset.step = step;
    return head;
  });
  const every = k <= 20 ? 1 : 5;
  const ranks = Array.from({ length: k }, (_, place) => place + 1).filter((rank) => rank === 1 || rank % every === 0);
  const numbers = ranks.map((rank) => text(LEFT - 10, y(rank) + 4, rank, "rank-axis"));
  if (worst === k) return [title, ...heads, ...numbers];
  const rule = svg("line", { class: "floor", x1: 0, x2: right + 10, y1: floor + 3, y2: floor + 3 });
  const ticks = TICKS.filter((rank) => rank >= 1.4 * k && rank <= worst);
  const shown = ticks.filter((rank, place) => place === 0 || y(rank) - y(ticks[place - 1]) >= 13);
  return [title, ...heads, ...numbers, rule, ...shown.map((rank) => text(LEFT - 4, y(rank) + 4, count(rank), "rank-axis"))];
}

function line(item, place, isTarget) {
  const { x, y, k } = place;
  const known = item.ranks.map((rank, step) => ({ step, rank })).filter(({ rank }) => rank !== null);
  const points = known.map(({ step, rank }) => ({ step, rank, x: x(step), y: y(rank) }));
  const segments = points.slice(1).map((to, index) => {
    const from = points[index];
    const middle = (from.x + to.x) / 2;
    return { step: to.step, d: `M${from.x} ${from.y}C${middle} ${from.y} ${middle} ${to.y} ${to.x} ${to.y}` };
  });
  return svg(
    "g",
    { class: `line ${item.kind}${isTarget ? " is-target" : ""}`, "data-item": item.id },
    svg("title", {}, `${nameOf(item)}: ${rankWords(item.ranks)}`),
    segments.map(({ d }) => svg("path", { class: "reach", d })),
    segments.map(({ d, step }) => svg("path", { class: "stroke", d, "data-step": step })),
    points.map((point, index) => mark(point, points[index - 1], k)),
    label(item, points.at(-1), place, isTarget),
  );
}

/** A dot; a triangle where the item enters the top k (upwards) or leaves it (downwards). */
function mark(point, before, k) {
  const inside = point.rank <= k;
  const was = before === undefined ? inside : before.rank <= k;
  const { x, y, step } = point;
  const shape =
    inside === was
      ? svg("circle", { class: "dot", cx: x, cy: y, r: inside ? 4.5 : 3 })
      : svg("path", { class: `dot ${inside ? "entry" : "exit"}`, d: triangle(x, y, inside ? -6 : 5) });
  const number = svg("text", { class: "rank", x, y: y - 9 }, count(point.rank));
  return svg("g", { "data-step": step, class: "mark" }, shape, number);
}

const triangle = (x, y, up) => `M${x} ${y + up}l${Math.abs(up)} ${-1.6 * up}h${-2 * Math.abs(up)}z`;

function label(item, point, { k, row, right, room }, isTarget) {
  if (!point || (point.rank > k && !isTarget)) return null;
  return svg("text", { class: `label${row < 20 ? " small" : ""}`, x: right + 16, y: point.y + 4 }, fitted(`${isTarget ? "★ " : ""}${nameOf(item)}`, room, isTarget));
}

const measure = document.createElement("canvas").getContext("2d");

/** The text, or as much of it as fits into `room` pixels. */
function fitted(text, room, bold) {
  measure.font = `${bold ? "bold " : ""}${LABEL_FONT}`;
  const width = (words) => measure.measureText(words).width;
  if (width(text) <= room) return text;
  const letters = [...text];
  let [low, high] = [0, letters.length];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (width(`${letters.slice(0, middle).join("")}…`) <= room) low = middle;
    else high = middle - 1;
  }
  return `${letters.slice(0, low).join("").trimEnd()}…`;
}

const KINDS = { stayed: "stays in the list", entered: "enters", left: "leaves", passed: "only on the way" };

function legend(listed, target, steps) {
  const kinds = Object.keys(KINDS).filter((kind) => steps > 1 && listed.some((item) => item.kind === kind));
  if (kinds.length < 2 && !target?.ranks) return null;
  const sample = (kind) => svg("svg", { viewBox: "0 0 24 10", class: `line ${kind}`, "aria-hidden": "true" }, svg("path", { class: "stroke", d: "M1 5h22" }));
  return el("p", { class: "legend" }, kinds.map((kind) => el("span", {}, sample(kind), KINDS[kind])), target?.ranks && el("span", {}, "★ came next"));
}

function inWords(listed, steps, k) {
  if (steps < 2) return `The top ${k}. The list below holds the same.`;
  const names = (kind) => listed.filter((item) => item.kind === kind).map(nameOf);
  const part = (kind, words) => (names(kind).length ? ` ${words}: ${names(kind).join("; ")}.` : "");
  return `Ranks of ${items(listed.length)} over ${steps} lists.${part("entered", "Entered")}${part("left", "Left")}`;
}
