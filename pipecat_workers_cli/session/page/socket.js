// A call's path where WebRTC finds none: sound and messages in Pipecat's frames over a WebSocket.

import { decodeFrame, encodeAudio, encodeMessage } from "./frames.js";
import { gone, noPath, noSocket, refusal, unreachable } from "./problems.js";
import { ask, within } from "./waiting.js";

const RATE = 16_000; // Hz, of what `pmw-ear` gives and the server hears
const OPEN_MS = 10_000;
const WORKLETS_MS = 5000;
const ASK_MS = 5000;
const MOST_UNSENT = 64_000; // bytes: two seconds of sound; what is older helps nobody
const FEW_UNSENT = 16_000; // bytes
const DRAIN_MS = 10_000; // for the last words, once the server has hung up

export class SocketPath {
  name = "WebSocket";
  #stream;
  #token;
  #context;
  #on;
  #socket = null;
  #nodes = [];
  #mouth = null;
  #shaky = false;
  #over = false;
  #draining = null;

  /** See `Call` for what is given. */
  constructor({ stream, token, context, on }) {
    this.#stream = stream;
    this.#token = token;
    this.#context = context;
    this.#on = on;
  }

  /** Connects. Throws a `Problem`. */
  async open() {
    const { audioWorklet } = this.#context;
    if (!audioWorklet) throw noPath(); // a page that is neither on localhost nor https
    const loaded = audioWorklet.addModule(new URL("worklets.js", import.meta.url));
    await within(loaded, WORKLETS_MS, unreachable);
    if (this.#over) return;
    const socket = this.#dial();
    const opened = new Promise((resolve, reject) => {
      socket.addEventListener("open", resolve);
      socket.addEventListener("error", reject);
    });
    try {
      await within(opened, OPEN_MS, unreachable);
    } catch {
      throw await this.#whyRefused();
    }
    if (this.#over) return;
    socket.addEventListener("message", ({ data }) => this.#receive(data));
    socket.addEventListener("close", ({ wasClean }) => this.#leave(wasClean));
    this.#plugIn();
    this.#on.open();
  }

  #dial() {
    const url = new URL("ws-client", document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    if (this.#token) url.searchParams.set("token", this.#token); // no header can carry it
    this.#socket = new WebSocket(url);
    this.#socket.binaryType = "arraybuffer";
    return this.#socket;
  }

  /** A refused handshake tells a page nothing, so the same door is asked by a request. */
  async #whyRefused() {
    const answer = await ask("ws-client", this.#token, ASK_MS).catch(() => null);
    if (!answer) return unreachable();
    return answer.status === 404 ? noSocket() : refusal(answer); // 404: it would let a call in
  }

  #plugIn() {
    const context = this.#context;
    const source = context.createMediaStreamSource(this.#stream);
    const mono = { channelCount: 1, channelCountMode: "explicit", outputChannelCount: [1] };
    const ear = new AudioWorkletNode(context, "pmw-ear", mono);
    const mouth = new AudioWorkletNode(context, "pmw-mouth", { ...mono, numberOfInputs: 0 });
    const voice = context.createMediaStreamDestination();
    source.connect(ear).connect(context.destination); // silent, but else it would not run
    mouth.connect(voice);
    ear.port.onmessage = ({ data }) => this.#hear(data);
    mouth.port.onmessage = () => this.#draining?.();
    this.#mouth = mouth;
    this.#nodes = [source, ear, mouth];
    this.#on.sound(voice.stream);
  }

  #hear(samples) {
    const unsent = this.#socket.bufferedAmount;
    const shaky = this.#shaky ? unsent > FEW_UNSENT : unsent > MOST_UNSENT;
    if (shaky !== this.#shaky) this.#on.shaky((this.#shaky = shaky));
    if (!shaky && this.#isOpen) this.#socket.send(encodeAudio(samples, RATE));
  }

  #receive(data) {
    const frame = decodeFrame(data);
    if (frame?.kind === "audio") {
      const { samples, rate } = frame;
      this.#mouth.port.postMessage({ samples, rate }, [samples.buffer]);
    } else if (frame?.kind === "interruption") {
      this.#mouth.port.postMessage("hush");
    } else if (frame?.kind === "message") {
      this.#on.message(parsed(frame.text));
    }
  }

  /** The server has hung up; what it said last is still played. */
  async #leave(clean) {
    if (this.#over) return;
    if (!clean) return this.#on.over(gone());
    const drained = new Promise((resolve) => (this.#draining = resolve));
    this.#mouth.port.postMessage("drain");
    await within(drained, DRAIN_MS, gone).catch(() => {});
    this.#on.over(null);
  }

  get #isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Sends one message; false where that cannot be. */
  send(message) {
    if (!this.#isOpen) return false;
    this.#socket.send(encodeMessage(JSON.stringify(message)));
    return true;
  }

  close() {
    this.#over = true;
    this.#socket?.close();
    for (const node of this.#nodes) {
      if (node.port) node.port.onmessage = null;
      node.disconnect();
    }
    this.#nodes = [];
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null; // not for us
  }
}
