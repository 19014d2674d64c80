// The transcript's lines as elements: a list that follows its end and stays bounded.

const MOST_LINES = 400;
const NEAR_END_PX = 48;

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

  clear() {
    this.#list.replaceChildren();
    this.#following = true;
  }
}
