/** Fetches the server's answers; throws a ServerError whose message is a sentence for the reader. */

const [RETRY_SECONDS, LONGEST_RETRY] = [1.5, 5];
const KEY = "rearec_jax.key";

export class ServerError extends Error {}

/** The page's reactions while a request waits; main.js sets them. */
export const hooks = {
  /** Called with a sentence while the server is not ready. */
  waiting: () => {},
  /** Called when the server has answered. */
  answered: () => {},
  /** Asks for the key; resolves to it, or to null if the reader gives none. */
  askKey: async () => null,
};

let asking = null; // the promise of the key: one question for all requests that wait for it

export const api = {
  models: () => request("models"),
  items: (text, model, signal) => request(`items?${query({ q: text, limit: 20, model })}`, { signal }),
  samples: (model) => request(`samples?${query({ limit: 50, model })}`),
  /** Its ranks are a Map, because an id may be "toString" or "__proto__", which every object has. */
  async explain(body, signal) {
    const answer = await request("explain", { body, signal });
    return { ...answer, ranks: new Map(Object.entries(answer.ranks)) };
  },
};

const query = (fields) => new URLSearchParams(Object.entries(fields).filter(([, value]) => value !== null));

async function request(path, { body, signal } = {}) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const headers = headersOf(body, key);
    const response = headers && (await send(path, body, headers, signal));
    if (!response || response.status === 401) {
      await newKey(key);
    } else if (response.status === 503) {
      hooks.waiting(`${await sentence(response)} Trying again …`);
      const told = Number(response.headers.get("Retry-After")) || RETRY_SECONDS;
      await pause(Math.min(told, LONGEST_RETRY), signal);
    } else {
      hooks.answered();
      if (!response.ok) throw new ServerError(await sentence(response));
      return answer(response);
    }
  }
}

/** Returns the headers, or null where the key has a character that no header may hold, such as a typographic quote. */
function headersOf(body, key) {
  const headers = new Headers({ Accept: "application/json" });
  if (body) headers.set("Content-Type", "application/json");
  try {
    if (key) headers.set("X-API-Key", key);
  } catch {
    return null;
  }
  return headers;
}

async function send(path, body, headers, signal) {
  try {
    return await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The server does not answer. Is it still running?");
  }
}

async function answer(response) {
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The server’s answer cannot be read.");
  }
}

/** Returns the sentence of {"error": "one sentence"}, or one of its own, because a proxy may answer with something else. */
async function sentence(response) {
  try {
    const { error } = await response.json();
    if (typeof error === "string" && error) return asSentence(error);
  } catch (error) {
    if (error.name === "AbortError") throw error;
  }
  return response.status === 503 ? "The server is not ready yet." : `The server answers with status ${response.status}.`;
}

const asSentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}${/[.!?…]$/.test(text) ? "" : "."}`;

async function newKey(refused) {
  if (sessionStorage.getItem(KEY) !== refused) return; // another request has asked meanwhile
  sessionStorage.removeItem(KEY);
  asking ??= hooks.askKey(refused !== null).finally(() => (asking = null));
  const key = await asking;
  if (!key) throw new ServerError("This server answers only with a key.");
  sessionStorage.setItem(KEY, key);
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
