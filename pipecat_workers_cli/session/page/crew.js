// The workers of the call, a lamp on the active one, and the jobs they run for each other.

import { Edges, drawable, place, rowsOf } from "./graph.js";
import { Jobs } from "./jobs.js";

export class Crew {
  #parts;
  #workers = new Map(); // name → its element
  #summaries = new Map();
  #edges;
  #jobs;
  #active = null;

  /** @param {{crew: HTMLElement, rack: HTMLElement, edges: SVGElement, lamp: HTMLElement,
   *   workers: HTMLElement, about: HTMLElement, work: HTMLElement, jobs: HTMLElement}} parts
   *   The elements it fills. */
  constructor(parts) {
    this.#parts = parts;
    this.#edges = new Edges(parts.edges);
    this.#jobs = new Jobs(parts.jobs, () => this.#mark());
    new ResizeObserver(() => this.#arrange()).observe(parts.workers);
    parts.workers.addEventListener("pointerover", ({ target }) => this.#tell(target));
    parts.workers.addEventListener("focusin", ({ target }) => this.#tell(target));
    for (const away of ["pointerleave", "focusout"]) {
      parts.workers.addEventListener(away, () => this.#tell(null));
    }
  }

  /** Shows `workers` (`[{name, summary}]`) and `edges` between them, `active` lit. */
  show(workers, active, edges = []) {
    this.clear();
    for (const worker of workers) this.#workers.set(worker.name, itemOf(worker, edges));
    this.#summaries = new Map(workers.map(({ name, summary }) => [name, summary ?? ""]));
    const { crew, rack, workers: list } = this.#parts;
    const graph = drawable(workers, edges);
    rack.dataset.shape = graph ? "graph" : "list";
    const rows = graph ? rowsOf(workers, edges) : [workers.map(({ name }) => name)];
    if (graph) place(rows, this.#workers);
    // In the order in which they are seen, so that the focus doesn't jump.
    list.replaceChildren(...rows.flat().map((name) => this.#workers.get(name)));
    for (const item of this.#workers.values()) if (graph) item.tabIndex = 0;
    crew.hidden = this.#workers.size === 0;
    this.#edges.show(this.#workers, graph ? edges : []);
    this.activate(active);
  }

  /** Who is lit; null if nobody is. */
  get active() {
    return this.#active;
  }

  /** Lights one worker; the lamp travels there from the one before. */
  activate(name, from = null) {
    this.#active = name;
    for (const [known, item] of this.#workers) {
      if (known === name) item.setAttribute("aria-current", "true");
      else item.removeAttribute("aria-current");
    }
    this.#moveLamp();
    this.#tell(null);
    if (from) this.#edges.handOver(from, name);
  }

  #arrange() {
    this.#moveLamp();
    this.#edges.draw();
  }

  #moveLamp() {
    const item = this.#workers.get(this.#active);
    const { lamp, rack } = this.#parts;
    lamp.hidden = !item;
    if (!item) return;
    lamp.style.transform = `translate(${item.offsetLeft}px, ${item.offsetTop}px)`;
    lamp.style.width = `${item.offsetWidth}px`;
    lamp.style.height = `${item.offsetHeight}px`;
    const [above, below] = [item.offsetTop, item.offsetTop + item.offsetHeight];
    const seen = above >= rack.scrollTop && below <= rack.scrollTop + rack.clientHeight;
    if (!seen) rack.scrollTop = above - rack.clientHeight / 2;
  }

  /** Says below the graph what a worker is for: the one pointed at, else the active one. */
  #tell(target) {
    const name = target?.closest?.("[data-worker]")?.dataset.worker ?? this.#active;
    const summary = this.#summaries.get(name);
    this.#parts.about.textContent = summary ? `${name}: ${summary}` : "";
  }

  /** Takes up one entry about a job. */
  job(entry) {
    this.#jobs.take(entry);
  }

  #mark() {
    const { running } = this.#jobs;
    const busy = new Set(running.map(({ target }) => target));
    for (const [name, item] of this.#workers) item.toggleAttribute("data-busy", busy.has(name));
    this.#edges.work(running);
    this.#parts.work.hidden = this.#jobs.size === 0;
  }

  /** The call is over: nobody is active, nothing runs. */
  rest() {
    this.#jobs.rest();
    this.activate(null);
  }

  clear() {
    this.#jobs.clear();
    this.activate(null);
    this.#workers.clear();
    this.#summaries.clear();
    this.#edges.show(this.#workers, []);
    this.#parts.workers.replaceChildren();
    this.#parts.crew.hidden = true;
  }
}

function itemOf({ name, summary }, edges) {
  const item = document.createElement("li");
  const [title, about, ties] = ["b", "span", "span"].map((tag) => document.createElement(tag));
  title.textContent = name;
  about.textContent = summary ?? "";
  about.className = "about";
  ties.textContent = tiesOf(name, edges);
  ties.className = "unseen";
  item.append(title, about, ties);
  item.title = summary ? `${name}: ${summary}` : name;
  item.dataset.worker = name;
  return item;
}

/** What the lines show, in words. */
function tiesOf(name, edges) {
  const mine = edges.filter(({ source }) => source === name);
  const of = (tie) => mine.filter((edge) => edge.tie === tie).map(({ target }) => target);
  const [handsOver, asks] = [of("transfer"), of("job")];
  const sentences = [
    handsOver.length ? `Hands over to ${handsOver.join(", ")}.` : "",
    asks.length ? `Asks ${asks.join(", ")}.` : "",
  ];
  return sentences.filter(Boolean).join(" ");
}
