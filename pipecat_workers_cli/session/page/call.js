// One call to Pipecat's runner: RTVI over whichever path is found, WebRTC or a WebSocket.

import { PeerPath } from "./peer.js";
import { Problem, noBot, unreachable } from "./problems.js";
import { SocketPath } from "./socket.js";
import { within } from "./waiting.js";

const LABEL = "rtvi-ai";
const VERSION = "2.0.0"; // of the RTVI protocol
const BOT_MS = 30_000; // the first call may find the speech models still loading

let peerless = false; // WebRTC found no path; until the page is loaded anew it isn't tried again

export class Call {
  /** How sound travels: the path that is open or being opened. */
  path = null;
  #given;
  #on;
  #line = null; // the path that is open or being opened
  #ids = 0;
  #over = false;
  #botReady;
  #broken; // rejects when the call is over, so that no wait outlives it
  #break;

  /**
   * @param {{stream: MediaStream, token: string|null, context: AudioContext}} given `stream` is
   *   the caller's sound, which the call owns and whose tracks it stops; `token` is sent as a
   *   bearer token; `context` plays where the browser's own player can't.
   * @param {{step: (text: string) => void, sound: (stream: MediaStream) => void,
   *   message: (message: object) => void, shaky: (is: boolean) => void,
   *   over: (problem: Problem|null) => void}} on What happens, as it happens.
   */
  constructor(given, on) {
    this.#given = given;
    this.#on = on;
    this.#broken = new Promise((_, reject) => (this.#break = reject));
    this.#broken.catch(() => {}); // nobody may be waiting
  }

  /** Places the call; returns when the bot is ready. A failure ends it through `over`. */
  async open() {
    try {
      const ready = new Promise((resolve) => (this.#botReady = resolve));
      await this.#connect();
      this.#on.step("Waiting for the bot");
      await this.#unlessOver(within(ready, BOT_MS, noBot));
    } catch (error) {
      this.#end(error instanceof Problem ? error : unreachable());
    }
  }

  async #connect() {
    this.#on.step("Connecting");
    try {
      if (!peerless) return await this.#try(PeerPath);
    } catch (error) {
      if (!error.another || this.#over) throw error;
      peerless = true;
      this.#on.step("No direct path for sound, connecting over WebSocket");
      await this.#unlessOver(this.#line.giveUp());
    }
    await this.#try(SocketPath);
  }

  async #try(Path) {
    const on = {
      open: () => this.#hello(),
      message: (message) => this.#receive(message),
      sound: (stream) => this.#over || this.#on.sound(stream),
      shaky: (is) => this.#on.shaky(is),
      over: (problem) => this.#end(problem),
    };
    this.#line = new Path({ ...this.#given, on });
    this.path = this.#line.name;
    await this.#unlessOver(this.#line.open());
  }

  #unlessOver(promise) {
    return Promise.race([promise, this.#broken]);
  }

  #hello() {
    const about = { library: "pmw-page", library_version: "1.0.0" };
    this.send("client-ready", { version: VERSION, about });
  }

  #receive(message) {
    if (message?.label !== LABEL || this.#over) return;
    if (message.type === "bot-ready") this.#botReady?.();
    this.#on.message(message);
  }

  /** Sends one RTVI message; false where the call cannot carry it. */
  send(type, data) {
    const id = String(++this.#ids);
    return this.#line?.send({ label: LABEL, type, id, data }) ?? false;
  }

  /** While muted the server hears silence; the microphone stays open. */
  mute(muted) {
    for (const track of this.#given.stream.getAudioTracks()) track.enabled = !muted;
  }

  /** Hangs up. Everything the call opened is closed when this returns. */
  close() {
    this.#end(null);
  }

  #end(problem) {
    if (this.#over) return;
    this.#over = true;
    this.#break(problem ?? new Problem("The call is over.", ""));
    for (const track of this.#given.stream.getTracks()) track.stop();
    this.#line?.close();
    this.#on.over(problem);
  }
}
