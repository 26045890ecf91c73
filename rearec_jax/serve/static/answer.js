/** Reads the items and their ranks from an answer to /explain; it draws nothing. */

/** Returns the title of every listed item, with its id where another item has the same one. */
export function titlesOf(answer) {
  const titles = new Map(answer.steps.flatMap((step) => step.ids.map((id, place) => [id, step.titles?.[place] ?? null])));
  const owners = Map.groupBy(titles.keys(), (id) => titles.get(id));
  return new Map([...titles].map(([id, title]) => [id, title && owners.get(title).length > 1 ? `${title} (${id})` : title]));
}

/** Returns each listed item's share of the softmax over all items that may be listed; null where the model tells none. */
export function sharesOf({ scores, top_share: all }, temperature) {
  if ((all ?? null) === null || !temperature) return null;
  const weights = scores.map((score) => Math.exp((score - scores[0]) / temperature));
  const sum = weights.reduce((one, other) => one + other, 0);
  return weights.map((weight) => (all * weight) / sum);
}

/** Returns how many items may be listed, or about: those of the history that are left out are counted. */
export const poolOf = (model, story) => story.candidates.length || model.items;

/** Returns the items of all lists, and the target if its ranks are known: [{id, title, ranks, kind}], best final rank first. */
export function listedItems(answer, k, target) {
  const titles = titlesOf(answer);
  const listed = [...titles].map(([id, title]) => {
    const ranks = answer.ranks.get(id) ?? answer.steps.map((step) => step.ids.indexOf(id) + 1 || null);
    return { id, title, ranks, kind: kindOf(ranks, k) };
  });
  if (target?.ranks && !titles.has(target.id)) listed.push({ ...target, kind: "outside" });
  const place = (rank) => rank ?? Infinity;
  return listed.sort((a, b) => place(a.ranks.at(-1)) - place(b.ranks.at(-1)));
}

/** Says whether an item stayed, entered or left between the first and the last list, or was only in lists between them. */
function kindOf(ranks, k) {
  const [first, last] = [ranks[0], ranks.at(-1)].map((rank) => rank !== null && rank <= k);
  if (first) return last ? "stayed" : "left";
  return last ? "entered" : "passed";
}

/** Returns the ranks as text, such as "rank 17 → 5 → 2". */
export const rankWords = (ranks) => `rank ${ranks.map((rank) => rank ?? "–").join(" → ")}`;

/** Returns the step of this answer that is shown when the page shows `step`, because a model may have fewer. */
export const stepOf = (answer, step) => Math.min(step, answer.steps.length - 1);
