/** Asks every model about a story, and gathers what the page needs to draw the answers. */

import { api, ServerError } from "./api.js";

const FAR = 100; // length of the list in which the item that came next is looked for

/**
 * Returns {answers: [{model, answer, targetRanks, depth}], titles: Map id → title, unknown: Set of ids that
 * no model knows}.
 */
export async function askModels(models, story, signal) {
  const answers = await Promise.all(models.map((model) => askModel(model, story, signal)));
  const titles = new Map();
  for (const { answer, far } of answers) {
    for (const { id, title } of answer.history) titles.set(id, title);
    for (const step of [...answer.steps, ...(far?.steps ?? [])]) step.ids.forEach((id, at) => titles.set(id, step.titles?.[at] ?? null));
  }
  await nameTarget(story.target, titles, models[0], signal);
  const unknowns = answers.map(({ answer }) => answer.unknown ?? []);
  const unknown = new Set(unknowns[0].filter((id) => unknowns.every((ids) => ids.includes(id))));
  return { answers, titles, unknown };
}

async function askModel(model, story, signal) {
  const question = {
    history: story.history.map(({ id }) => id),
    k: story.k,
    steps: story.steps === null || story.steps > model.steps ? null : story.steps,
    exclude_seen: story.excludeSeen,
    exclude: story.exclude,
    candidates: story.candidates.length ? story.candidates : null,
    unknown: "skip",
    model: model.name,
  };
  const answer = await api.explain(question, signal);
  const id = story.target?.id;
  if (id === undefined || answer.by !== "model") return { model, answer, targetRanks: null };
  if (answer.ranks.has(id)) return { model, answer, targetRanks: answer.ranks.get(id) };
  const { far, depth } = await furtherDown(question, answer, signal);
  return { model, answer, far, depth, targetRanks: far.ranks.get(id) ?? null };
}

/** Resolves to {far, depth}: a longer list, where the server gives one, and its length. */
async function furtherDown(question, answer, signal) {
  try {
    return { far: await api.explain({ ...question, k: FAR }, signal), depth: FAR };
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    return { far: answer, depth: question.k };
  }
}

/** Fetches the title of the item that came next, where only its id is known (from an address) and no list names it. */
async function nameTarget(target, titles, model, signal) {
  if (target === null || target.title !== null || titles.has(target.id)) return;
  const question = { history: [target.id], k: 1, unknown: "skip", model: model.name };
  const { history } = await api.explain(question, signal);
  titles.set(target.id, history[0]?.title ?? null);
}
