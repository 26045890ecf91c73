/** The page: one story (history and options), one column a model, and what connects them. */

import { api, hooks } from "./api.js";
import { byId, nameOf } from "./dom.js";
import { followItems } from "./highlight.js";
import { createHistory } from "./history.js";
import { askKey, clearError, say, showError, showWaiting } from "./messages.js";
import { createModelView } from "./model_view.js";
import { createOptions } from "./options.js";
import { createSamples } from "./samples.js";
import { createSearch } from "./search.js";
import { createStepper } from "./stepper.js";
import { read, write } from "./story.js";
import { createTabs } from "./tabs.js";
import { askModels } from "./questions.js";

const SIDE_BY_SIDE = 3; // models that are shown where the address names none

async function start() {
  clearError();
  try {
    const { models } = await api.models();
    run(models.map((model) => ({ ...model, label: labelOf(model, models) })));
  } catch (error) {
    showError(error, start);
  }
}

/** Runs that differ by a seed have the same label; their names tell them apart. */
function labelOf({ label, name }, models) {
  const same = models.filter((other) => other.label === label);
  return same.length === 1 && label ? label : name;
}

function run(models) {
  const main = (models.find((model) => model.default) ?? models[0]).name;
  let story = fromAddress();
  let views = new Map();
  let strangers = new Set(); // names of models that know no item of the history, as others do
  let question = new AbortController();

  const options = createOptions(models, { change });
  const history = createHistory(byId("history"), { change: (entries) => change({ history: entries, target: null }) });
  const tabs = createTabs();
  const stepper = createStepper({ show: setStep });
  const lightUp = followItems(document.querySelector("main"), (id) => views.forEach((view) => view.lit(id)));
  createSamples({ model: main, take: (sample) => change({ history: sample.history, target: sample.target }) });
  createSearch(byId("search"), byId("found"), {
    find: async (text) => (await api.items(text, main)).items,
    choose: add,
    failed: (error) => showError(error, ask),
    say,
  });
  byId("clear").addEventListener("click", () => {
    change({ history: [], target: null });
    byId("search").focus();
  });
  window.addEventListener("hashchange", () => {
    story = fromAddress();
    show();
  });
  show();

  function fromAddress() {
    const found = read(location.hash);
    const named = models.map(({ name }) => name).filter((name) => found.models.includes(name));
    return { ...found, models: named };
  }

  /** Returns the models to show: those that the reader chose, or the first that know the history. */
  function chosen() {
    if (story.models.length) return models.filter(({ name }) => story.models.includes(name));
    const know = models.filter(({ name }) => !strangers.has(name));
    return (know.length ? know : models).slice(0, SIDE_BY_SIDE);
  }

  function add(item) {
    change({ history: [...story.history, { id: item.id, title: item.title ?? null }], target: null });
    say(`${nameOf(item)} added.`);
  }

  function change(part) {
    story = { ...story, ...part };
    window.history.replaceState(null, "", write(story) || location.pathname + location.search);
    show();
  }

  function show() {
    strangers = new Set();
    render(new Set());
    columns();
    ask();
  }

  function render(unknown) {
    history.render(story, unknown);
    options.render(story, chosen().map(({ name }) => name));
    lightUp();
  }

  function columns() {
    const shown = chosen();
    if ([...views.keys()].join() === shown.map(({ name }) => name).join()) return;
    views = new Map(shown.map((model) => [model.name, views.get(model.name) ?? createModelView(model, { add })]));
    byId("columns").dataset.models = views.size;
    byId("columns").replaceChildren(...[...views.values()].map(({ node }) => node));
    tabs.render(views);
  }

  async function ask() {
    question.abort();
    question = new AbortController();
    const { signal } = question;
    clearError();
    views.forEach((view) => view.busy());
    try {
      const told = await askThoseWhoKnow(signal);
      if (signal.aborted) return;
      columns();
      tell(told);
    } catch (error) {
      if (signal.aborted) return;
      views.forEach((view) => view.clear());
      stepper.reset(0);
      showError(error, ask);
    }
  }

  /** Asks the models to show; where some know no item of the history, others take their places. */
  async function askThoseWhoKnow(signal) {
    for (;;) {
      const asked = chosen();
      const told = await askModels(asked, story, signal);
      const strange = told.answers.filter(({ answer }) => story.history.length && answer.by === "popularity");
      strange.forEach(({ model }) => strangers.add(model.name));
      if (chosen().every((model, place) => model === asked[place])) return told;
    }
  }

  function tell({ answers, titles, unknown }) {
    const named = (item) => item && { ...item, title: item.title ?? titles.get(item.id) ?? null };
    story = { ...story, history: story.history.map(named), target: named(story.target) };
    for (const { model, answer, targetRanks, depth } of answers) {
      views.get(model.name)?.show(answer, story, { targetRanks, depth });
    }
    stepper.reset(Math.max(...answers.map(({ answer }) => answer.steps.length - 1)));
    render(unknown);
  }

  function setStep(step, asked) {
    views.forEach((view) => view.setStep(step));
    if (asked) say(step === 0 ? "Before reasoning." : `After step ${step}.`);
  }
}

// The hash is the story: the link must not replace it.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("results").focus();
});
hooks.waiting = showWaiting;
hooks.answered = () => showWaiting(null);
hooks.askKey = askKey;
start();
