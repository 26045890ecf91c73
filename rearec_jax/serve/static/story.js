/**
 * Reads and writes the state of the page in the hash of its address: #h=17,4&t=39&k=10&steps=1&seen=1&x=8&c=1,2&score=share&m=erl,prl
 *
 * h: the history's ids, oldest first; t: the item that came next; k: list length; steps: fewer
 * reasoning steps than trained; seen=1: the history's items stay in the lists; x: items that are left
 * out; c: the only ones to choose from; score=share: scores as shares; m: models, by default the
 * first ones that know the history.
 */

export const LENGTHS = [5, 10, 20, 50];
const LONGEST = 500;

/** A story without titles, from a hash that anybody may have written. */
export function read(hash) {
  const fields = new Map(hash.replace(/^#/, "").split("&").map((field) => pair(field)));
  const ids = (name) => (fields.get(name) || "").split(",").filter(Boolean).map(decode);
  const k = whole(fields.get("k"));
  return {
    history: ids("h").slice(-LONGEST).map((id) => ({ id, title: null })),
    target: fields.get("t") ? { id: decode(fields.get("t")), title: null } : null,
    k: k >= 1 && k <= 100 ? k : 10,
    steps: whole(fields.get("steps")),
    excludeSeen: fields.get("seen") !== "1",
    exclude: ids("x"),
    candidates: ids("c"),
    shares: fields.get("score") === "share",
    models: ids("m"),
  };
}

export function write(story) {
  const fields = [];
  const put = (name, value) => fields.push(`${name}=${value}`);
  const join = (ids) => ids.map(encodeURIComponent).join(",");
  if (story.history.length) put("h", join(story.history.map(({ id }) => id)));
  if (story.target) put("t", encodeURIComponent(story.target.id));
  if (story.k !== 10) put("k", story.k);
  if (story.steps !== null) put("steps", story.steps);
  if (!story.excludeSeen) put("seen", 1);
  if (story.exclude.length) put("x", join(story.exclude));
  if (story.candidates.length) put("c", join(story.candidates));
  if (story.shares) put("score", "share");
  if (story.models.length) put("m", join(story.models));
  return fields.length ? `#${fields.join("&")}` : "";
}

function pair(field) {
  const at = field.indexOf("=");
  return at < 0 ? [field, ""] : [field.slice(0, at), field.slice(at + 1)];
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a lone %
  }
}

const whole = (text) => (/^\d{1,4}$/.test(text || "") ? Number(text) : null);
