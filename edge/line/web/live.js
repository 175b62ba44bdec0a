// Asks the line's service how things stand: whenever it says that something changed, and now and then in any case, since a cut
// cable says nothing.

const LEAST_MS = 1000;
const MOST_MS = 5000;
const AGAIN_MS = 2000;
const PATIENCE_MS = 8000;

/** Why there is no answer that can be used. */
export class NoAnswer extends Error {
  constructor(status) {
    super(`status ${status}`);
    this.status = status;
  }
}

/**
 * What the service answers.
 *
 * @returns what it says, its clock's time then, and of which version the page is that it has now
 */
export async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(PATIENCE_MS), cache: "no-store" });
  if (!answer.ok) throw new NoAnswer(answer.status);
  const { headers } = answer;
  return { said: await answer.json(), at: new Date(headers.get("date")), version: headers.get("x-cloudedge-page") };
}

/**
 * Never returns.
 *
 * @param show is given each answer
 * @param miss is told why there is none
 */
export async function follow(show, miss) {
  let source = null;
  let changed = false;
  let wake = () => {};
  const awake = () => {
    changed = true;
    wake();
  };
  const close = () => {
    source?.close();
    source = null;
  };
  const listen = () => {
    if (source && source.readyState !== EventSource.CLOSED) return;
    source = new EventSource("api/events");
    source.addEventListener("changed", awake);
    source.addEventListener("error", awake);
  };
  const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
  const woken = (milliseconds) => {
    const called = new Promise((resolve) => {
      wake = resolve;
    });
    return changed ? undefined : Promise.race([called, sleep(milliseconds)]);
  };
  // A browser opens few connections to a server: a page that nobody looks at takes none of them.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : awake()));
  for (;;) {
    changed = false;
    if (document.hidden) {
      await woken(2 ** 31 - 1);
      continue;
    }
    let answer;
    try {
      answer = await ask("api/line");
    } catch (error) {
      close();
      miss(error);
      await sleep(AGAIN_MS);
      continue;
    }
    listen();
    try {
      await show(answer);
    } catch (error) {
      console.error(error); // What cannot be shown once does not end what nobody sits in front of to open it anew.
    }
    await sleep(LEAST_MS);
    await woken(MOST_MS - LEAST_MS);
  }
}
