/** Reads the items and their ranks from an answer to /explain; it draws nothing. */

/** Returns the items of all lists, and the target if its ranks are known: [{id, title, ranks, kind}], best final rank first. */
export function listedItems(answer, k, target) {
  const titles = new Map(answer.steps.flatMap((step) => step.ids.map((id, place) => [id, step.titles?.[place] ?? null])));
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
