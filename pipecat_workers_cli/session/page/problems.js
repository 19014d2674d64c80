// What can go wrong with a call, in words for the person in front of the page:
// one sentence says what happened, one says what to do about it.

export class Problem extends Error {
  /**
   * @param {string} what One sentence: what happened.
   * @param {string} mend One sentence: what to do.
   * @param {{typing?: boolean, another?: boolean}} also `typing`: a call in typed words would
   *   still work; `another`: a path other than WebRTC may be found.
   */
  constructor(what, mend, { typing = false, another = false } = {}) {
    super(what);
    this.mend = mend;
    this.typing = typing;
    this.another = another;
  }
}

const say = (what, mend, also) => () => new Problem(what, mend, also);

const CHOOSE = "Allow the microphone for this page in the browser's address bar, then connect again.";
const ASK_OWNER = "Look at the terminal where pmw runs, start it again if need be, then connect again.";

export const insecure = say(
  "The browser gives the microphone only to pages on localhost or https.",
  "Open the page as http://localhost on the machine itself, or serve it over https.",
  { typing: true },
);
export const unreachable = say("The server does not answer.", ASK_OWNER);
export const gone = say("The connection to the server is lost.", ASK_OWNER);
export const noPath = say(
  "No path for sound to the server was found within 5 seconds.",
  "Open the page on localhost or over https, where a WebSocket may carry the sound, or let this machine send UDP to the server.",
  { another: true },
);
export const noSocket = say(
  "Neither WebRTC nor a WebSocket reaches the server.",
  "Start pmw without -t, and let WebSockets pass whatever stands before it (proxy, VPN), then connect again.",
);
export const noBot = say("The server took the call, but no bot came.", ASK_OWNER);
export const unsupported = say(
  "This browser cannot place calls (it has no WebRTC).",
  "Open the page in a current Chrome, Edge, Firefox or Safari.",
  { another: true },
);

/** The problem behind what `getUserMedia` threw. */
export function microphoneProblem(error) {
  const also = { typing: true };
  switch (error.name) {
    case "NotAllowedError":
    case "SecurityError":
      return new Problem("The microphone was refused.", CHOOSE, also);
    case "NotFoundError":
    case "OverconstrainedError":
      return new Problem("No microphone was found.", "Plug one in, then connect again.", also);
    default:
      return new Problem(
        "The microphone is there but gives no sound.",
        "Close other programs that use it, then connect again.",
        also,
      );
  }
}

const BY_STATUS = {
  401: ["The server did not accept this page's token.", "Open the page with its token."],
  403: ["The server refuses calls from this page.", "Open the page with its token."],
  404: ["This server takes no calls from a browser.", "Start pmw without -t, or with -t webrtc or websocket."],
  503: ["The server is busy.", "Wait for another call to end, then connect again."],
};

/** The problem behind an answer that is not OK; the server's own words come first. */
export async function refusal(response) {
  const told = await response.json().catch(() => null);
  const [what, mend] = BY_STATUS[response.status] ?? [
    `The server could not take the call (HTTP ${response.status}).`,
    ASK_OWNER,
  ];
  const own = (text) => (typeof text === "string" && text.trim() ? sentence(text) : null);
  const also = { another: response.status === 404 }; // only WebRTC isn't served
  return new Problem(own(told?.error) ?? what, own(told?.mend) ?? mend, also);
}

function sentence(text) {
  const trimmed = text.trim();
  const whole = trimmed[0].toUpperCase() + trimmed.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}
