// Who said what, put together from two sources: RTVI, which is early and knows the words as
// they are spoken, and the call's own entries, which are late and know the worker and the turn.

const PACE_MS = 64; // a character of speech takes about this long
const TICK_MS = 128;
const LOOK_BACK = 8; // lines that an entry may still be about
const UNHEARD_MS = 3000; // an answer that was not spoken by then is shown as text

const UNKNOWN = "bot"; // who speaks, until the call is introduced

const letters = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "");
const alike = (a, b) => a !== "" && b !== "" && (a.includes(b) || b.includes(a));
const join = (parts) => parts.filter(Boolean).join(" ").trim();

export class Transcript {
  #lines;
  #worker = UNKNOWN; // who is active
  #users = []; // the last lines of the caller
  #bots = []; // the last lines of workers
  #open = { user: null, bot: null }; // the lines that still grow
  #segments = new Map(); // RTVI's segment id → segment
  #speaking = false;
  #ticker = null;
  #unheard = new Set();
  #latency = null; // ms, waiting for the line of the answer it belongs to

  /** @param {import("./lines.js").Lines} lines Where it is written. */
  constructor(lines) {
    this.#lines = lines;
  }

  /** From now on unattributed words are this worker's. */
  activate(worker) {
    if (this.#worker === UNKNOWN) {
      for (const { item, entry } of this.#bots) if (!entry) this.#lines.rename(item, worker);
    } else if (worker !== this.#worker) this.#closeBot();
    this.#worker = worker;
  }

  note(kind, text) {
    if (kind !== "job") this.#closeBot(); // words that follow stand below
    return this.#lines.note(kind, text);
  }

  // The caller.

  /** Words recognised so far; `final` ones stay. */
  heard(text, final) {
    if (!text.trim()) return;
    if (!this.#open.user && this.#told(text)) return;
    const line = (this.#open.user ??= this.#newUser());
    if (final) line.said = join([line.said, text.trim()]);
    line.coming = final ? "" : text.trim();
    this.#writeUser(line);
  }

  /** A turn that was typed here. */
  typed(text) {
    this.#closeUser();
    this.#writeUser(Object.assign(this.#newUser(), { said: text }));
    this.#closeUser();
  }

  /** A turn of the caller as the call took it. */
  userEntry({ text }) {
    if (!text) return;
    const pending = this.#users.filter((line) => !line.entry);
    const last = this.#users.at(-1);
    const same = pending.findLast((line) => alike(letters(line.said + line.coming), letters(text)));
    if (!same && last?.entry && !last.answered && last.said === text) return; // told twice
    const line = same ?? (last && !last.entry && last === this.#open.user ? last : this.#newUser());
    Object.assign(line, { entry: true, said: text, coming: "" });
    this.#writeUser(line);
    this.#closeUser();
  }

  /** Whether an entry already showed these words. */
  #told(text) {
    const last = this.#users.at(-1);
    return Boolean(last?.entry && !last.rtvi && alike(letters(last.said), letters(text)));
  }

  #newUser() {
    this.#closeBot();
    const line = { item: this.#lines.speech("user", "you"), said: "", coming: "", entry: false };
    this.#users = [...this.#users.slice(-LOOK_BACK), line];
    return line;
  }

  #writeUser(line) {
    line.rtvi ||= !line.entry;
    this.#lines.write(line.item, line.said, line.coming, line.coming !== "");
  }

  #closeUser() {
    this.#open.user = null;
  }

  // The workers.

  /** A piece of RTVI's bot-output: a sentence that begins, goes on or is spoken. */
  output({ text, segment_id: id, spoken_status: status, spoken_progress: progress, ...rest }) {
    const key = id ?? `${text}`;
    const segment = this.#segments.get(key) ?? this.#newSegment(key, text);
    const spoken = rest.will_be_spoken !== false;
    segment.text = text;
    if (!spoken || status === "completed") segment.said = text.length;
    else if (status === "in-progress" && progress) {
      segment.timed = true; // this voice tells its words: no guessing
      segment.said = progress.accumulated_text.length;
    }
    this.#write(segment.line);
  }

  #newSegment(key, text) {
    this.#closeUser();
    const said = this.#unheardLine(text);
    const line = said ?? this.#open.bot ?? this.#newBot(this.#worker);
    if (said) said.text = "";
    this.#open.bot = line;
    const segment = { line, text, said: 0, timed: false };
    line.segments.push(segment);
    this.#segments.set(key, segment);
    if (this.#segments.size > 500) this.#segments.delete(this.#segments.keys().next().value);
    this.#ticker ??= setInterval(() => this.#tick(), TICK_MS);
    return segment;
  }

  #newBot(worker) {
    const line = { item: this.#lines.speech("bot", worker), segments: [], text: "", entry: false };
    this.#lines.rename(line.item, worker);
    this.#bots = [...this.#bots.slice(-LOOK_BACK), line];
    for (const user of this.#users) user.answered = true;
    this.#showLatency(line);
    return line;
  }

  #closeBot() {
    this.#open.bot = null;
  }

  /** An answer as the call took it: the worker and the words are certain. */
  botEntry({ worker, text, turn, latency_ms: took, parts }) {
    const words = letters(text ?? "");
    const mine = this.#bots.filter((line) => !line.entry && alike(letters(wholeOf(line)), words));
    for (const line of mine) {
      line.entry = true;
      if (worker) this.#lines.rename(line.item, worker);
      if (turn) line.item.dataset.turn = turn;
    }
    if (mine.length) this.#time(mine[0], took, parts);
    if (mine.length || !words) return;
    const late = { worker: worker ?? this.#worker, text, took, parts, line: null };
    late.timer = setTimeout(() => this.#showUnheard(late), UNHEARD_MS);
    this.#unheard.add(late);
    if (this.#unheard.size > LOOK_BACK) this.#forget(this.#unheard.values().next().value);
  }

  /** The call knows better than the page how long an answer took, and why. */
  #time(line, took, parts) {
    if (!took) return;
    line.timed = true;
    this.#lines.latency(line.item, took, parts);
  }

  #showUnheard(late) {
    late.line = Object.assign(this.#newBot(late.worker), { text: late.text, entry: true });
    this.#time(late.line, late.took, late.parts);
    this.#write(late.line);
  }

  /** The line for a sentence of an answer that its entry announced before it was spoken. */
  #unheardLine(text) {
    const late = [...this.#unheard].find((one) => alike(letters(one.text), letters(text)));
    if (!late) return null;
    this.#forget(late);
    if (late.line) return late.line;
    const line = Object.assign(this.#newBot(late.worker), { entry: true });
    this.#time(line, late.took, late.parts);
    return line;
  }

  #forget(late) {
    clearTimeout(late.timer);
    this.#unheard.delete(late);
  }

  #write(line) {
    const said = line.segments.map((one) => one.text.slice(0, one.said));
    const coming = line.segments.map((one) => (line.cut ? "" : one.text.slice(one.said)));
    this.#lines.write(line.item, join(said) || line.text, join(coming), coming.some(Boolean));
  }

  /** Between the beginning and the end of a sentence its words are lit at a usual pace. */
  #tick() {
    const next = [...this.#segments.values()].find(
      (one) => !one.line.cut && one.said < one.text.length,
    );
    if (!next) {
      clearInterval(this.#ticker);
      this.#ticker = null;
    } else if (this.#speaking && !next.timed) {
      next.at = (next.at ?? 0) + TICK_MS;
      const reached = next.text.indexOf(" ", next.at / PACE_MS);
      // The last word waits for the voice to have ended.
      next.said = Math.max(next.said, reached < 0 ? next.text.lastIndexOf(" ") + 1 : reached);
      this.#write(next.line);
    }
  }

  /** The bot's voice begins; `latency` in ms where it answers a turn. */
  botStarted(latency) {
    this.#speaking = true;
    if (latency === null) return;
    this.#latency = latency;
    const line = this.#open.bot;
    if (line) this.#showLatency(line);
  }

  botStopped() {
    this.#speaking = false;
  }

  #showLatency(line) {
    if (this.#latency === null) return;
    const ms = Math.round(this.#latency);
    this.#latency = null;
    if (!line.timed) this.#lines.latency(line.item, ms);
  }

  /** An answer begins that is not the one being spoken. */
  nextAnswer() {
    if (!this.#speaking) this.#closeBot();
  }

  /** What was not spoken by now never will be. */
  interrupted() {
    const lines = new Set([...this.#segments.values()].map((one) => one.line));
    for (const line of lines) {
      if (line.cut || line.segments.every((one) => one.said >= one.text.length)) continue;
      line.cut = true;
      this.#write(line);
      const end = line.item.querySelector(".words");
      this.#lines.mark(end, "cut", "interrupted", "the answer was cut off here");
    }
    if (this.#speaking) this.#closeBot();
  }

  /** The call is over: nothing grows any more. */
  end() {
    clearInterval(this.#ticker);
    this.#ticker = null;
    for (const late of [...this.#unheard]) this.#forget(late);
    for (const line of this.#users) this.#lines.write(line.item, line.said, line.coming, false);
    for (const line of this.#bots) line.item.removeAttribute("aria-busy");
  }
}

function wholeOf(line) {
  return line.segments.map((one) => one.text).join(" ") || line.text;
}
