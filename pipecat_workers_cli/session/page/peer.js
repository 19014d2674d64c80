// A call's path by WebRTC: a peer connection for sound, its data channel for messages.

import { gone, noPath, refusal, unreachable, unsupported } from "./problems.js";
import { ask, within } from "./waiting.js";

const GATHER_MS = 1000; // host candidates alone: some milliseconds, unless an interface hangs
const OFFER_MS = 10_000;
const PATH_MS = 5000;
const LOST_MS = 5000; // a short loss of the network heals by itself
const PING_MS = 1000; // the server takes three seconds without a ping for a lost caller
const GIVE_UP_MS = 3000; // the server says at once that it has let go; the other path may wait

/** Returns when `look` does, which is asked at each `event` of `pc`; after `ms` in any case. */
function until(pc, event, look, ms) {
  return new Promise((resolve) => {
    const asked = () => look() && resolve();
    pc.addEventListener(event, asked);
    if (ms) setTimeout(resolve, ms);
    asked();
  });
}

export class PeerPath {
  name = "WebRTC";
  #pc;
  #channel;
  #stream;
  #token;
  #on;
  #id = null; // the server's, of this connection
  #once = false; // there was a path
  #over = false;
  #lost = null;
  #pings = null;
  #failed; // rejects when the peer connection fails before there was a path

  /** See `Call` for what is given. */
  constructor({ stream, token, on }) {
    this.#stream = stream;
    this.#token = token;
    this.#on = on;
  }

  /** Finds a path. Throws a `Problem`; where another path may do, it says so. */
  async open() {
    if (!globalThis.RTCPeerConnection) throw unsupported();
    const pc = (this.#pc = new RTCPeerConnection());
    this.#failed = new Promise((_, reject) => this.#listen(pc, reject));
    this.#failed.catch(() => {}); // nobody may be waiting
    const [track] = this.#stream.getAudioTracks();
    pc.addTransceiver(track, { direction: "sendrecv", streams: [this.#stream] });
    this.#openChannel(pc);
    await pc.setLocalDescription();
    await until(pc, "icegatheringstatechange", () => pc.iceGatheringState === "complete", GATHER_MS);
    // The server has UDP alone, and candidates that come later are never told to it.
    if (!/^a=candidate:\S+ \d+ udp /im.test(pc.localDescription.sdp)) throw noPath();
    await pc.setRemoteDescription(await this.#offer(pc.localDescription));
    const connected = until(pc, "connectionstatechange", () => pc.connectionState === "connected");
    await Promise.race([within(connected, PATH_MS, noPath), this.#failed]);
  }

  async #offer({ sdp, type }) {
    const body = JSON.stringify({ sdp, type });
    const asked = ask("api/offer", this.#token, OFFER_MS, { method: "POST", body });
    const response = await asked.catch(() => {
      throw unreachable();
    });
    if (!response.ok) throw await refusal(response);
    const answer = await response.json();
    this.#id = answer.pc_id ?? null;
    return answer;
  }

  #listen(pc, fail) {
    pc.addEventListener("track", ({ streams, track }) =>
      this.#on.sound(streams[0] ?? new MediaStream([track])),
    );
    pc.addEventListener("connectionstatechange", () => {
      const state = pc.connectionState;
      if (this.#over) return;
      clearTimeout(this.#lost);
      this.#once ||= state === "connected";
      this.#on.shaky(state === "disconnected");
      if (state === "failed") this.#once ? this.#on.over(gone()) : fail(noPath());
      if (state === "disconnected") this.#lost = setTimeout(() => this.#on.over(gone()), LOST_MS);
    });
  }

  #openChannel(pc) {
    const channel = (this.#channel = pc.createDataChannel("rtvi", { ordered: true }));
    channel.addEventListener("open", () => {
      const ping = () => channel.readyState === "open" && channel.send(`ping: ${Date.now()}`);
      ping();
      this.#pings = setInterval(ping, PING_MS);
      this.#on.open();
    });
    channel.addEventListener("message", ({ data }) => this.#receive(data));
    channel.addEventListener("close", () => this.#over || this.#on.over(gone()));
  }

  #receive(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return; // not for us
    }
    if (message?.type !== "signalling") this.#on.message(message);
    else if (message.message?.type === "peerLeft") this.#on.over(null);
  }

  /** Sends one message; false where that cannot be. */
  send(message) {
    if (this.#channel?.readyState !== "open") return false;
    this.#channel.send(JSON.stringify(message));
    return true;
  }

  /** Lets the server know that this path is given up: it would hold the call's place. */
  async giveUp() {
    this.close();
    if (!this.#id) return;
    const body = JSON.stringify({ pc_id: this.#id });
    const told = ask("api/offer", this.#token, GIVE_UP_MS, { method: "DELETE", body });
    await told.catch(() => {}); // it finds out by itself, later
  }

  close() {
    this.#over = true;
    clearTimeout(this.#lost);
    clearInterval(this.#pings);
    this.#channel?.close();
    this.#pc?.close();
  }
}
