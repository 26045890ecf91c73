/**
 * Elements from data. Strings become text nodes, never markup: a title may hold anything.
 * Styles are set as properties, because the page's policy forbids style attributes.
 */

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element. null, undefined and false leave an attribute or a child out. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name, value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const byId = (id) => document.getElementById(id);

const ICONS = {
  up: "M3 10l5-5 5 5",
  down: "M3 6l5 5 5-5",
  left: "M10 3L5 8l5 5",
  right: "M6 3l5 5-5 5",
  cross: "M4 4l8 8M12 4l-8 8",
  plus: "M8 3v10M3 8h10",
  play: "M5 3l8 5-8 5z",
  pause: "M5 3v10M11 3v10",
  copy: "M6 6h7.5v7.5H6zM10 3.5V2.5H2.5V10H4",
  download: "M8 2v8M4.5 7L8 10.5 11.5 7M3 13.5h10",
  tick: "M3 8.5l3.5 3.5L13 4.5",
};

export function icon(name) {
  return svg("svg", { viewBox: "0 0 16 16", class: `icon icon-${name}`, "aria-hidden": "true" }, svg("path", { d: ICONS[name] }));
}

/** What an item is called: its title, or its id where it has none. */
export const nameOf = ({ id, title }) => title || `Item ${id}`;

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });

/** 12,101; 1.4 */
export const count = (value) => (value < 10 ? SHORT : WHOLE).format(value);
/** 31 %, 0.4 %, < 0.1 % */
export const percent = (share) => {
  if (share > 0 && share < 0.001) return "<\u00a00.1\u00a0%";
  return `${(share < 0.0995 ? SHORT : WHOLE).format(100 * share)}\u00a0%`;
};
/** "1 item", "2 items" */
export const items = (number) => `${count(number)} ${number === 1 ? "item" : "items"}`;

export const moves = () => !window.matchMedia("(prefers-reduced-motion: reduce)").matches;
