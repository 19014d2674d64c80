// The workers of the call, a lamp on the active one, and the jobs they run.

const FINISHED = new Set(["completed", "failed", "cancelled", "timeout"]);
const STAYS_MS = 5000; // a finished job, so that its end can be read
const MOST_JOBS = 50;

export class Crew {
  #parts;
  #workers = new Map(); // name → its element
  #jobs = new Map(); // id and worker → {item, timer}
  #active = null;

  /** @param {{crew: HTMLElement, workers: HTMLElement, lamp: HTMLElement, work: HTMLElement,
   *   jobs: HTMLElement}} parts The elements it fills. */
  constructor(parts) {
    this.#parts = parts;
    new ResizeObserver(() => this.#moveLamp()).observe(parts.workers);
  }

  /** Shows `workers` (`[{name, summary}]`), `active` lit. */
  show(workers, active) {
    this.clear();
    for (const { name, summary } of workers) {
      const item = document.createElement("li");
      const [title, about] = [document.createElement("b"), document.createElement("span")];
      title.textContent = name;
      about.textContent = summary ?? "";
      item.append(title, about);
      item.title = summary ?? "";
      item.dataset.worker = name;
      this.#workers.set(name, item);
    }
    this.#parts.workers.replaceChildren(...this.#workers.values());
    this.#parts.crew.hidden = this.#workers.size === 0;
    this.activate(active);
  }

  /** Who is lit; null if nobody is. */
  get active() {
    return this.#active;
  }

  /** Lights one worker; the lamp travels there from the one before. */
  activate(name) {
    this.#active = name;
    for (const [known, item] of this.#workers) {
      if (known === name) item.setAttribute("aria-current", "true");
      else item.removeAttribute("aria-current");
    }
    this.#moveLamp();
  }

  #moveLamp() {
    const item = this.#workers.get(this.#active);
    const { lamp } = this.#parts;
    lamp.hidden = !item;
    if (!item) return;
    lamp.style.transform = `translate(${item.offsetLeft}px, ${item.offsetTop}px)`;
    lamp.style.width = `${item.offsetWidth}px`;
    lamp.style.height = `${item.offsetHeight}px`;
  }

  /** Takes up one entry about a job (`{id, name, state}`). */
  job({ id, name, state }) {
    const key = `${id} ${name}`; // the workers of a job group share an id
    const known = this.#jobs.get(key);
    if (!known && (FINISHED.has(state) || this.#jobs.size >= MOST_JOBS)) return;
    const job = known ?? this.#newJob(key, name);
    job.item.dataset.state = state;
    job.item.lastElementChild.textContent = state === "update" ? "at work" : state;
    if (FINISHED.has(state)) job.timer ??= setTimeout(() => this.#drop(key), STAYS_MS);
    this.#mark();
  }

  #newJob(key, name) {
    const item = document.createElement("li");
    const [who, state] = [document.createElement("b"), document.createElement("span")];
    who.textContent = name ?? "job";
    item.append(who, state);
    this.#parts.jobs.append(item);
    const job = { item, name, timer: null };
    this.#jobs.set(key, job);
    return job;
  }

  #drop(key) {
    this.#jobs.get(key)?.item.remove();
    this.#jobs.delete(key);
    this.#mark();
  }

  #mark() {
    const busy = new Set();
    for (const { item, name } of this.#jobs.values()) {
      if (!FINISHED.has(item.dataset.state)) busy.add(name);
    }
    for (const [name, item] of this.#workers) item.toggleAttribute("data-busy", busy.has(name));
    this.#parts.work.hidden = this.#jobs.size === 0;
  }

  /** The call is over: nobody is active, nothing runs. */
  rest() {
    this.activate(null);
    for (const [key, { timer }] of [...this.#jobs]) {
      clearTimeout(timer);
      this.#drop(key);
    }
  }

  clear() {
    this.rest();
    this.#workers.clear();
    this.#parts.workers.replaceChildren();
    this.#parts.crew.hidden = true;
  }
}
