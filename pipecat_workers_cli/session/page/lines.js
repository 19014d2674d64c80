// The transcript's lines as elements: a list that follows its end and stays bounded.

const MOST_LINES = 400;
const NEAR_END_PX = 48;
const SLOW_MS = 1000; // longer pauses are felt as such

function make(tag, className, text = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

export class Lines {
  #scroller;
  #list;

  /**
   * @param {HTMLElement} scroller What scrolls.
   * @param {HTMLElement} list Holds the lines.
   */
  constructor(scroller, list) {
    this.#scroller = scroller;
    this.#list = list;
    // On a phone the keyboard makes the view smaller: the end must stay in sight.
    new ResizeObserver(() => this.#following && this.#toEnd()).observe(scroller);
    scroller.addEventListener("scroll", () => {
      const rest = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
      this.#following = rest < NEAR_END_PX;
    }, { passive: true });
  }

  #following = true;

  #toEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  /** Runs `change`, then scrolls to the end unless the reader has scrolled away from it. */
  follow(change) {
    change();
    if (this.#following) this.#toEnd();
  }

  #add(item) {
    this.follow(() => {
      this.#list.append(item);
      while (this.#list.children.length > MOST_LINES) this.#list.firstElementChild.remove();
    });
    return item;
  }

  /** A line of someone who speaks; `kind` is `user` or `bot`. */
  speech(kind, name) {
    const item = make("li", `line ${kind}`);
    const words = make("p", "words");
    words.append(make("span", "said"), make("span", "coming"));
    item.append(make("span", "name", name), words);
    return this.#add(item);
  }

  /** A small line about something that happened; `kind` is its class. */
  note(kind, text) {
    return this.#add(make("li", `note ${kind}`, text));
  }

  rename(item, name) {
    item.querySelector(".name").textContent = name;
    item.dataset.worker = name;
  }

  /** Shows what was said, and dimly what is still to come; `busy` while more follows. */
  write(item, said, coming, busy) {
    this.follow(() => {
      item.querySelector(".said").textContent = said;
      item.querySelector(".coming").textContent = said && coming ? ` ${coming}` : coming;
    });
    // Screen readers wait for the whole line instead of reading it word by word.
    if (busy) item.setAttribute("aria-busy", "true");
    else item.removeAttribute("aria-busy");
  }

  /** Puts a small remark after `place`'s content: how long an answer took, that it was cut off. */
  mark(place, className, text, title) {
    const mark = make("span", className, text);
    mark.title = title;
    this.follow(() => place.append(" ", mark));
  }

  /** Says how long an answer took, red from a second; its `parts` show on hover and focus. */
  latency(item, ms, parts = null) {
    item.querySelector(":scope > .latency")?.remove();
    item.dataset.latencyMs = Math.round(ms);
    const mark = make("span", ms < SLOW_MS ? "latency" : "latency slow", `${Math.round(ms)} ms`);
    if (parts) {
      mark.tabIndex = 0;
      mark.append(" ", partsOf(parts));
      for (const shown of ["pointerenter", "focus"]) {
        mark.addEventListener(shown, () => this.#keepInSight(mark));
      }
    } else mark.title = "from the end of your turn to the first sound of the answer";
    this.follow(() => item.append(mark));
  }

  /** The parts stand above their mark, unless there is no room. */
  #keepInSight(mark) {
    const room = mark.getBoundingClientRect().top - this.#scroller.getBoundingClientRect().top;
    mark.toggleAttribute("data-below", room < mark.lastElementChild.offsetHeight + 8);
  }

  clear() {
    this.#list.replaceChildren();
    this.#following = true;
  }
}

/** The parts of a latency as lines with bars, the longest being full. */
function partsOf(parts) {
  const list = make("span", "parts");
  const most = Math.max(1, ...Object.values(parts));
  for (const [name, ms] of Object.entries(parts)) {
    if (Math.round(ms) === 0) continue;
    const part = make("span", "part");
    part.append(make("span", "", `${name} `), make("span", "", `${Math.round(ms)} ms`), make("i", ""));
    part.lastElementChild.style.width = `${(100 * ms) / most}%`;
    list.append(part, " "); // apart for who hears them
  }
  return list;
}
