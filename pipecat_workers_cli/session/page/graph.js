// The workers as a graph: where each stands, and lines for who hands over to or asks whom.
// The workers themselves are a list, which screen readers read; the lines are drawn below it.

const SVG = "http://www.w3.org/2000/svg";
const IN_A_ROW = 3;
const COLUMNS = 6; // of the list's grid: rows of one, two and three all fit into it
const MOST_WORKERS = 9; // with more, lines cross too often: a plain list tells more
const MOST_EDGES = 24;
const BEND = 24; // px by which a line goes below the row whose workers it joins
const TIP = 5; // px
const LABEL = 20; // characters of a tool's name
const LETTER = 7.3; // px; how wide one of them is
const ABOVE = 17; // px from a tool's name to the worker that it asks
const FLASH_MS = 1500; // a handover's line stays lit

/** Whether a graph of these still tells something. */
export function drawable(workers, edges) {
  return edges.length > 0 && workers.length <= MOST_WORKERS && edges.length <= MOST_EDGES;
}

/** Names in rows: who talks to the caller first, below them who they ask, and so on. */
export function rowsOf(workers, edges) {
  const asks = edges.filter(({ tie }) => tie === "job");
  const handed = new Set(edges.filter(({ tie }) => tie === "transfer").map((one) => one.target));
  const asked = new Set(asks.map(({ target }) => target).filter((name) => !handed.has(name)));
  const rank = new Map(workers.map(({ name }) => [name, 0]));
  for (let round = 0; round < workers.length; round++) {
    for (const { source, target } of asks) {
      const below = (rank.get(source) ?? 0) + 1;
      if (asked.has(target) && below <= workers.length) {
        rank.set(target, Math.max(rank.get(target), below));
      }
    }
  }
  const rows = [];
  for (const depth of [...new Set(rank.values())].sort((a, b) => a - b)) {
    const names = workers.map(({ name }) => name).filter((name) => rank.get(name) === depth);
    while (names.length) rows.push(names.splice(0, names.length === 4 ? 2 : IN_A_ROW));
  }
  return rows;
}

/** Puts each element of `items` (by name) where it belongs in the list's grid. */
export function place(rows, items) {
  rows.forEach((names, row) => {
    const span = names.length === 1 ? 4 : COLUMNS / names.length;
    const first = names.length === 1 ? 2 : 1;
    names.forEach((name, at) => {
      const { style } = items.get(name);
      style.gridRow = row + 1;
      style.gridColumn = `${first + at * span} / span ${span}`;
    });
  });
}

export class Edges {
  #svg;
  #items = new Map();
  #edges = [];

  /** @param {SVGElement} svg What it draws into; it lies below the list. */
  constructor(svg) {
    this.#svg = svg;
  }

  /** Takes the workers' elements by name, and edges of `{source, target, tie, tool}`. */
  show(items, edges) {
    this.#items = items;
    const both = ({ source, target, tie }) =>
      edges.some((one) => one.tie === tie && one.source === target && one.target === source);
    this.#edges = edges
      .filter(({ source, target }) => items.has(source) && items.has(target) && source !== target)
      .filter((edge) => edge.tie === "job" || !both(edge) || edge.source < edge.target)
      .map((edge) => ({ ...edge, mutual: edge.tie === "transfer" && both(edge), group: null }));
    this.draw();
  }

  /** Draws anew, for the workers' elements have other places now. */
  draw() {
    this.#svg.replaceChildren();
    for (const edge of this.#edges) {
      const drawn = line(box(this.#items.get(edge.source)), box(this.#items.get(edge.target)), edge);
      drawn.toggleAttribute("data-lit", Boolean(edge.lit));
      this.#svg.append(drawn);
      edge.group = drawn;
    }
    this.#label();
  }

  /** Writes each tool's name once, in the middle of those whom it asks. */
  #label() {
    const tools = new Map();
    for (const edge of this.#edges.filter(({ tool }) => tool)) {
      const key = `${edge.source} ${edge.tool}`;
      tools.set(key, [...(tools.get(key) ?? []), edge]);
    }
    const taken = [];
    for (const edges of tools.values()) {
      const boxes = edges.map(({ target }) => box(this.#items.get(target)));
      const [name] = edges[0].tool.split("(");
      const text = name.length > LABEL ? `${name.slice(0, LABEL - 1)}…` : name;
      const half = (text.length * LETTER) / 2;
      const wanted = boxes.reduce((sum, one) => sum + one.x, 0) / boxes.length;
      const x = Math.max(half, Math.min(wanted, this.#svg.clientWidth - half));
      if (taken.some((one) => one.text === text && Math.abs(one.x - x) < LETTER)) continue;
      const near = taken.filter((one) => Math.abs(one.x - x) < half + one.half);
      const free = [0, -1, 1].map((step) => boxes[0].top - ABOVE + step * LETTER * 1.6);
      const y = free.find((one) => near.every((other) => Math.abs(other.y - one) > LETTER)) ?? free[0];
      taken.push({ x, y, half, text });
      const label = make("text", { x, y, "text-anchor": "middle" });
      label.textContent = text;
      this.#svg.append(label);
    }
  }

  /** Lights the lines of the running jobs, `[{source, target}]`; a source may be unknown. */
  work(jobs) {
    for (const edge of this.#edges.filter(({ tie }) => tie === "job")) {
      edge.lit = jobs.some(
        ({ source, target }) => target === edge.target && (source ?? edge.source) === edge.source,
      );
      edge.group?.toggleAttribute("data-lit", edge.lit);
    }
  }

  /** Lights for a moment the line that the call has taken. */
  handOver(source, target) {
    const ends = [source, target];
    const edge = this.#edges.find(
      (one) => one.tie === "transfer" && ends.includes(one.source) && ends.includes(one.target),
    );
    if (!edge) return;
    edge.lit = true;
    edge.group.setAttribute("data-lit", "");
    setTimeout(() => {
      edge.lit = false;
      edge.group.removeAttribute("data-lit");
    }, FLASH_MS);
  }
}

function make(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function box(item) {
  const { offsetLeft: left, offsetTop: top, offsetWidth: width, offsetHeight: height } = item;
  const middle = top + height / 2;
  return { left, top, right: left + width, bottom: top + height, x: left + width / 2, y: middle };
}

/** Two ends, the curve between them and in which direction each end is met: [x, y]. */
function course(from, to) {
  if (from.top === to.top) return sideways(from, to);
  const down = from.top < to.top;
  const [a, b] = down ? [from.bottom, to.top] : [from.top, to.bottom];
  const half = (b - a) / 2;
  const path = `M${from.x} ${a}C${from.x} ${a + half} ${to.x} ${b - half} ${to.x} ${b}`;
  const way = down ? 1 : -1;
  return { path, start: [from.x, a, 0, -way], end: [to.x, b, 0, way] };
}

function sideways(from, to) {
  const right = from.left < to.left;
  const gap = right ? to.left - from.right : from.left - to.right;
  if (gap < Math.min(from.right - from.left, to.right - to.left)) {
    const [a, b] = right ? [from.right, to.left] : [from.left, to.right];
    const way = right ? 1 : -1;
    return { path: `M${a} ${from.y}H${b}`, start: [a, from.y, -way, 0], end: [b, to.y, way, 0] };
  }
  const deep = from.bottom + BEND; // somebody stands between them
  const path = `M${from.x} ${from.bottom}C${from.x} ${deep} ${to.x} ${deep} ${to.x} ${to.bottom}`;
  return { path, start: [from.x, from.bottom, 0, -1], end: [to.x, to.bottom, 0, -1] };
}

function line(from, to, { source, target, tie, mutual }) {
  const { path, start, end } = course(from, to);
  const group = make("g", { "data-source": source, "data-target": target, "data-tie": tie });
  group.append(make("path", { d: path, class: "way" }), make("path", { d: tip(end) }));
  if (mutual) group.append(make("path", { d: tip(start) }));
  return group;
}

/** An open arrowhead at `x`, `y`, for a line that comes in direction `dx`, `dy`. */
function tip([x, y, dx, dy]) {
  const [backX, backY] = [x - dx * TIP, y - dy * TIP];
  const [sideX, sideY] = [dy * TIP * 0.7, dx * TIP * 0.7];
  return `M${backX + sideX} ${backY + sideY}L${x} ${y}L${backX - sideX} ${backY - sideY}`;
}
