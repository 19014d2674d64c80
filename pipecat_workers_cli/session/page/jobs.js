// The jobs of the call: who works for whom, on what, since when or how long.

const FINISHED = new Set(["completed", "failed", "cancelled", "timeout"]);
const MOST_FINISHED = 6; // the latest, so that their ends can be read
const MOST_JOBS = 50;
const TICK_MS = 1000;

const seconds = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

export class Jobs {
  #list;
  #changed;
  #jobs = new Map(); // id and worker → the job
  #ticking = null;

  /**
   * @param {HTMLElement} list Holds a line for each.
   * @param {() => void} changed Called when another job runs or ends.
   */
  constructor(list, changed) {
    this.#list = list;
    this.#changed = changed;
  }

  /** How many are shown. */
  get size() {
    return this.#jobs.size;
  }

  /** Those that run: `[{source, target}]`. */
  get running() {
    return [...this.#jobs.values()].filter(({ state }) => !FINISHED.has(state));
  }

  /** Takes up one entry about a job (`{id, name, worker, state, text, took_ms}`). */
  take({ id, name, worker, state, text, took_ms: took }) {
    const key = `${id} ${name}`; // the workers of a job group share an id
    const job = this.#jobs.get(key) ?? this.#begin(key, { id, source: worker, target: name, state });
    if (!job || FINISHED.has(job.state)) return;
    job.state = state;
    if (state === "update" && text) job.about.textContent = text;
    if (FINISHED.has(state)) this.#finish(job, took);
    job.item.dataset.state = state;
    this.#tell(job);
    this.#changed();
  }

  #begin(key, { id, source, target, state }) {
    if (FINISHED.has(state) || this.running.length >= MOST_JOBS) return null;
    const [item, who, told, about] = ["li", "b", "span", "p"].map((tag) =>
      document.createElement(tag),
    );
    who.textContent = target ?? "job";
    item.append(who, told, about);
    const job = { id, source, target, state, item, told, about, began: performance.now() };
    const group = [...this.#jobs.values()].filter((one) => one.id === id);
    for (const one of group.length ? [...group, job] : []) one.item.dataset.group = id;
    this.#list.append(item);
    this.#jobs.set(key, job);
    this.#ticking ??= setInterval(() => this.running.forEach((one) => this.#tell(one)), TICK_MS);
    return job;
  }

  #finish(job, took) {
    job.took = took ?? performance.now() - job.began;
    job.about.textContent = "";
    const finished = [...this.#jobs].filter(([, { state }]) => FINISHED.has(state));
    for (const [key, { item }] of finished.slice(0, -MOST_FINISHED)) {
      item.remove();
      this.#jobs.delete(key);
    }
    if (!this.running.length) this.#stopTicking();
  }

  #tell({ state, told, took, began }) {
    const since = Math.floor((performance.now() - began) / 1000);
    const text = FINISHED.has(state) ? `${state} ${seconds(took)}` : `at work ${since} s`;
    if (told.textContent !== text) told.textContent = text;
  }

  #stopTicking() {
    clearInterval(this.#ticking);
    this.#ticking = null;
  }

  /** The call is over: what still ran does so no more. */
  rest() {
    for (const { id, target, state } of this.#jobs.values()) {
      if (!FINISHED.has(state)) this.take({ id, name: target, state: "cancelled" });
    }
    this.#stopTicking();
  }

  clear() {
    this.#stopTicking();
    this.#jobs.clear();
    this.#list.replaceChildren();
    this.#changed();
  }
}
