// One call to Pipecat's runner: a peer connection for sound, and a data channel for RTVI.

import { Problem, gone, noBot, noPath, refusal, unreachable, unsupported } from "./problems.js";

const LABEL = "rtvi-ai";
const VERSION = "2.0.0"; // of the RTVI protocol
const GATHER_MS = 1000; // host candidates alone: some milliseconds, unless an interface hangs
const OFFER_MS = 10_000;
const PATH_MS = 5000;
const BOT_MS = 30_000; // the first call may find the speech models still loading
const LOST_MS = 5000; // a short loss of the network heals by itself
const PING_MS = 1000; // the server takes three seconds without a ping for a lost caller

/** Settles as `promise`, or rejects with `late()` after `ms`. */
function within(promise, ms, late) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(late()), ms);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}

function connected(pc) {
  return new Promise((resolve) => {
    const look = () => pc.connectionState === "connected" && resolve();
    pc.addEventListener("connectionstatechange", look);
    look();
  });
}

function gathered(pc) {
  return new Promise((resolve) => {
    const look = () => pc.iceGatheringState === "complete" && resolve();
    pc.addEventListener("icegatheringstatechange", look);
    setTimeout(resolve, GATHER_MS); // then with what there is
    look();
  });
}

export class Call {
  #pc = null;
  #channel = null;
  #stream;
  #token;
  #on;
  #ids = 0;
  #over = false;
  #timers = new Set();
  #abort = new AbortController();
  #botReady;
  #broken; // rejects when the call is over, so that no wait outlives it

  /**
   * @param {MediaStream} stream The caller's sound; the call owns it and stops its tracks.
   * @param {string|null} token Sent as a bearer token.
   * @param {{step: (text: string) => void, sound: (stream: MediaStream) => void,
   *   message: (message: object) => void, shaky: (is: boolean) => void,
   *   over: (problem: Problem|null) => void}} on What happens, as it happens.
   */
  constructor(stream, token, on) {
    this.#stream = stream;
    this.#token = token;
    this.#on = on;
    this.#broken = new Promise((_, reject) => {
      this.#abort.signal.addEventListener("abort", () => reject(this.#abort.signal.reason));
    });
    this.#broken.catch(() => {}); // nobody may be waiting
  }

  /** Places the call; returns when the bot is ready. A failure ends it through `over`. */
  async open() {
    try {
      if (!globalThis.RTCPeerConnection) throw unsupported();
      await this.#connect();
    } catch (error) {
      this.#end(error instanceof Problem ? error : unreachable());
    }
  }

  async #connect() {
    const pc = this.#listen(new RTCPeerConnection());
    const ready = new Promise((resolve) => (this.#botReady = resolve));
    const [track] = this.#stream.getAudioTracks();
    pc.addTransceiver(track, { direction: "sendrecv", streams: [this.#stream] });
    this.#openChannel(pc);
    this.#on.step("Connecting");
    await pc.setLocalDescription();
    await this.#unlessOver(gathered(pc));
    const answer = await this.#offer(pc.localDescription);
    await this.#unlessOver(pc.setRemoteDescription(answer));
    await this.#unlessOver(within(connected(pc), PATH_MS, noPath));
    this.#on.step("Waiting for the bot");
    await this.#unlessOver(within(ready, BOT_MS, noBot));
  }

  #unlessOver(promise) {
    return Promise.race([promise, this.#broken]);
  }

  async #offer({ sdp, type }) {
    const headers = { "Content-Type": "application/json" };
    if (this.#token) headers.Authorization = `Bearer ${this.#token}`;
    const timer = setTimeout(() => this.#end(unreachable()), OFFER_MS);
    try {
      const response = await fetch(new URL("api/offer", document.baseURI), {
        method: "POST",
        headers,
        body: JSON.stringify({ sdp, type }),
        signal: this.#abort.signal,
      });
      if (!response.ok) throw await refusal(response);
      return await response.json();
    } finally {
      clearTimeout(timer);
    }
  }

  #listen(pc) {
    this.#pc = pc;
    pc.addEventListener("track", ({ streams, track }) =>
      this.#on.sound(streams[0] ?? new MediaStream([track])),
    );
    let lost = null;
    let once = false; // there was a path
    pc.addEventListener("connectionstatechange", () => {
      const state = pc.connectionState;
      if (this.#over) return;
      clearTimeout(lost);
      once ||= state === "connected";
      this.#on.shaky(state === "disconnected");
      if (state === "failed") this.#end(once ? gone() : noPath());
      if (state === "disconnected") lost = this.#later(() => this.#end(gone()), LOST_MS);
    });
    return pc;
  }

  #openChannel(pc) {
    const channel = (this.#channel = pc.createDataChannel("rtvi", { ordered: true }));
    channel.addEventListener("open", () => {
      const ping = () => channel.readyState === "open" && channel.send(`ping: ${Date.now()}`);
      ping();
      this.#timers.add(setInterval(ping, PING_MS));
      const about = { library: "pmw-page", library_version: "1.0.0" };
      this.send("client-ready", { version: VERSION, about });
    });
    channel.addEventListener("message", ({ data }) => this.#receive(data));
    channel.addEventListener("close", () => this.#end(gone()));
  }

  #later(act, ms) {
    const timer = setTimeout(act, ms);
    this.#timers.add(timer);
    return timer;
  }

  #receive(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return; // not for us
    }
    if (message?.type === "signalling") {
      if (message.message?.type === "peerLeft") this.#end(null);
    } else if (message?.label === LABEL && !this.#over) {
      if (message.type === "bot-ready") {
        this.#botReady?.();
        this.#botReady = null;
      }
      this.#on.message(message);
    }
  }

  /** Sends one RTVI message; false where the call cannot carry it. */
  send(type, data) {
    if (this.#channel?.readyState !== "open") return false;
    const id = String(++this.#ids);
    this.#channel.send(JSON.stringify({ label: LABEL, type, id, data }));
    return true;
  }

  /** While muted the server hears silence; the microphone stays open. */
  mute(muted) {
    for (const track of this.#stream.getAudioTracks()) track.enabled = !muted;
  }

  /** Hangs up. Everything the call opened is closed when this returns. */
  close() {
    this.#end(null);
  }

  #end(problem) {
    if (this.#over) return;
    this.#over = true;
    this.#abort.abort(problem ?? new Problem("The call is over.", ""));
    for (const timer of this.#timers) clearTimeout(timer); // clears an interval too
    this.#timers.clear();
    for (const track of this.#stream.getTracks()) track.stop();
    this.#channel?.close();
    this.#pc?.close();
    this.#on.over(problem);
  }
}
