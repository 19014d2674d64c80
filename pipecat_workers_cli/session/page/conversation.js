// What a call tells, message by message, and where it is shown.

import { Transcript } from "./transcript.js";

const MOST_TOLD = 300; // characters of a job's answer; whoever asked speaks of it anyway
const SAME_ERROR_MS = 3000; // one failure may reach us twice, by RTVI and as an entry

export class Conversation {
  /** Why the call ended, once it told so. */
  reason = null;
  #transcript;
  #on;
  #own = false; // the server tells of workers: its entries are better than RTVI's
  #asked = null; // when the caller's turn ended
  #turn = "listening";
  #jobs = new Map(); // id and worker of a running job → its note
  #lastError = { text: "", at: 0 };

  /**
   * @param {{lines: import("./lines.js").Lines, crew: import("./crew.js").Crew,
   *   showCall: (call: object) => void, turn: (name: string) => void}} on `turn` says whose
   *   turn it is: listening, user, thinking or bot.
   */
  constructor(on) {
    this.#on = on;
    this.#transcript = new Transcript(on.lines);
  }

  /** Takes one RTVI message. */
  take({ type, data }) {
    const at = performance.now();
    if (type === "server-message" && data?.pmw) this.#entry(data.pmw);
    else this.#rtvi[type]?.(data ?? {}, at);
  }

  /** A turn that the caller typed, on its way. */
  typed(text) {
    this.#asked = performance.now();
    this.#transcript.typed(text);
    this.#show("thinking");
  }

  #show(turn) {
    this.#turn = turn;
    this.#on.turn(turn);
  }

  /** The call is over. */
  end() {
    this.#transcript.end();
    if (this.reason !== null) {
      this.#transcript.note("end", this.reason ? `call ended: ${this.reason}` : "call ended");
    }
  }

  #rtvi = {
    "user-started-speaking": () => {
      this.#asked = null;
      this.#show("user");
    },
    "user-stopped-speaking": (_, at) => {
      this.#asked = at;
      this.#show("thinking");
    },
    "user-input": ({ text, final, input_type: kind }) => {
      if (kind === "transcription") this.#transcript.heard(text, final);
    },
    "bot-llm-started": () => this.#transcript.nextAnswer(),
    "bot-output": (data) => this.#transcript.output(data),
    "bot-started-speaking": (_, at) => {
      this.#transcript.botStarted(this.#asked === null ? null : at - this.#asked);
      this.#asked = null;
      this.#show("bot");
    },
    "bot-stopped-speaking": () => {
      this.#transcript.botStopped();
      // Whoever interrupts it has the turn already.
      if (this.#turn === "bot") this.#show(this.#asked === null ? "listening" : "thinking");
    },
    "bot-interrupted": () => this.#transcript.interrupted(),
    "llm-function-call-in-progress": ({ function_name: name, arguments: args }) => {
      if (name && !this.#own) this.#tool({ name, args });
    },
    error: ({ error }) => this.#error(error),
    "error-response": ({ error }) => this.#error(error),
  };

  #entry(entry) {
    this.#own = true;
    this.#entries[entry.event]?.(entry);
  }

  #entries = {
    call: (call) => {
      if (call.active) this.#transcript.activate(call.active);
      this.#on.showCall(call);
    },
    user: (entry) => this.#transcript.userEntry(entry),
    bot: (entry) => {
      if (entry.worker && !this.#on.crew.active) this.#on.crew.activate(entry.worker);
      this.#transcript.botEntry(entry);
    },
    transfer: ({ worker, target, reason }) => {
      const why = reason ? `: ${reason}` : "";
      this.#transcript.note("transfer", `${worker ?? "the call"} → ${target}${why}`);
      this.#transcript.activate(target);
      this.#on.crew.activate(target, worker);
    },
    tool: (entry) => this.#tool(entry),
    job: (entry) => this.#job(entry),
    // Said once the goodbye has been spoken, when the connection ends.
    end: ({ reason }) => (this.reason = reason ?? ""),
    error: ({ worker, text }) => this.#error(worker ? `${worker}: ${text}` : text),
  };

  #job(entry) {
    this.#on.crew.job(entry);
    if (entry.state === "update") return;
    const text = jobTold(entry);
    const key = `${entry.id} ${entry.name}`; // the workers of a job group share an id
    const note = this.#jobs.get(key);
    if (note) note.textContent = text;
    else this.#jobs.set(key, this.#transcript.note("job", text));
    if (entry.state !== "started") this.#jobs.delete(key);
  }

  #tool({ worker, name, args }) {
    const told = Object.entries(args ?? {}).map(([key, value]) => `${key}: ${JSON.stringify(value)}`);
    const call = `${name}(${told.join(", ")})`;
    this.#transcript.note("tool", worker ? `${worker} calls ${call}` : call);
  }

  #error(text) {
    if (!text) return;
    const { text: last, at } = this.#lastError;
    const now = performance.now();
    if (now - at < SAME_ERROR_MS && (last.includes(text) || text.includes(last))) return;
    this.#lastError = { text, at: now };
    this.#asked = null;
    this.#show("listening"); // no answer will come
    this.#transcript.note("error", text);
  }
}

/** Words what has become of a job: the answer, or why there is none, as far as it is known. */
function jobTold({ name, state, text }) {
  if (!text) return `job for ${name}: ${state}`;
  const told = text.length > MOST_TOLD ? `${text.slice(0, MOST_TOLD)}…` : text;
  return state === "completed" ? `${name} answers: ${told}` : `job for ${name}: ${state}, ${told}`;
}
