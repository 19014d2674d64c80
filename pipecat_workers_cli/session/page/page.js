// The page: one button places a call and ends it; what the call tells is shown.
// `document.body.dataset.state` is idle, connecting, ready (in a call) or closed.

import { Call } from "./call.js";
import { Conversation } from "./conversation.js";
import { Crew } from "./crew.js";
import { Lines } from "./lines.js";
import { Problem } from "./problems.js";
import { Sound } from "./sound.js";

const element = (id) => document.getElementById(id);
const body = document.body;
const [connect, mute, wordless] = [element("connect"), element("mute"), element("wordless")];
const [words, send, composer] = [element("words"), element("send"), element("composer")];
const clock = element("clock");

const lines = new Lines(element("transcript"), element("lines"));
const crew = new Crew({
  crew: element("crew"),
  rack: element("rack"),
  edges: element("edges"),
  lamp: element("lamp"),
  workers: element("workers"),
  about: element("about"),
  work: element("work"),
  jobs: element("jobs"),
});

const token = takeToken();
let line = null; // what is open now: {sound, call, conversation}
let ticking = null;

/** The page token comes in the URL's fragment, which no server sees; it leaves the address bar. */
function takeToken() {
  const KEY = "pmw-token"; // kept for this tab, so that a reload still may call
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) history.replaceState(null, "", location.pathname + location.search);
  try {
    if (given) sessionStorage.setItem(KEY, given);
    return given ?? sessionStorage.getItem(KEY);
  } catch {
    return given; // storage is switched off
  }
}

function setState(state, text) {
  body.dataset.state = state;
  const open = state === "ready";
  connect.textContent = { connecting: "Cancel", ready: "Disconnect" }[state] ?? "Connect";
  for (const control of [mute, words, send]) control.disabled = !open;
  say(text);
}

function say(text) {
  const state = element("state");
  if (state.textContent !== text) state.textContent = text;
}

function showProblem(problem) {
  const texts = problem ? [problem.message, problem.mend] : [];
  const paragraphs = texts.filter(Boolean).map((text) => {
    const paragraph = document.createElement("p");
    paragraph.textContent = text;
    return paragraph;
  });
  element("problem").replaceChildren(...paragraphs);
  wordless.hidden = !problem?.typing;
}

function showCall({ recipe, workers = [], edges = [], active = null, providers = {} }) {
  element("recipe").textContent = recipe;
  document.title = `${recipe} · pmw`;
  crew.show(workers, active, edges);
  const pairs = Object.entries({ ...providers, path: line?.call.path }).filter(([, name]) => name);
  const rows = pairs.map(([role, name]) => {
    const row = document.createElement("div");
    for (const [tag, text] of [["dt", role], ["dd", name]]) {
      row.append(Object.assign(document.createElement(tag), { textContent: text }));
    }
    return row;
  });
  element("providers").replaceChildren(...rows);
  element("providers").hidden = rows.length === 0;
}

function startClock() {
  const began = Date.now();
  const show = () => {
    const seconds = Math.floor((Date.now() - began) / 1000);
    clock.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  };
  show();
  clock.hidden = false;
  ticking = setInterval(show, 1000);
}

function hangUp(mine, problem, text) {
  if (line !== mine) return; // it is over already
  line = null;
  clearInterval(ticking);
  mine.call?.close();
  mine.sound.close();
  mine.conversation.end();
  crew.rest();
  delete body.dataset.turn;
  setMuted(null, false);
  showProblem(problem);
  setState("closed", text ?? (problem ? "Not connected" : "Call ended"));
}

async function placeCall({ typing }) {
  showProblem(null);
  lines.clear();
  crew.clear();
  clock.hidden = true;
  const turn = (name) => (body.dataset.turn = name);
  const conversation = new Conversation({ lines, crew, showCall, turn });
  const mine = (line = { sound: new Sound(element("voice")), call: null, conversation });
  setState("connecting", typing ? "Connecting" : "Asking for the microphone");
  try {
    const stream = typing ? mine.sound.silence() : await mine.sound.microphone();
    if (line === mine) await openCall(mine, stream, typing);
    else for (const track of stream.getTracks()) track.stop(); // cancelled meanwhile
  } catch (error) {
    hangUp(mine, error instanceof Problem ? error : new Problem(String(error), "Reload the page."));
  }
}

/** Says which path was taken, where it isn't the usual one. */
function inCall({ path }) {
  return path === "WebRTC" ? "In a call" : `In a call over ${path}`;
}

async function openCall(mine, stream, typing) {
  const { sound, conversation } = mine;
  sound.measure(stream, element("you-level"));
  mine.call = new Call({ stream, token, context: sound.context }, {
    step: say,
    sound: (voice) => {
      sound.play(voice);
      sound.measure(voice, element("bot-level"));
    },
    message: (message) => conversation.take(message),
    shaky: (is) => body.dataset.state === "ready" && say(is ? "Connection interrupted" : inCall(mine.call)),
    over: (problem) => {
      const expected = conversation.reason !== null;
      hangUp(mine, expected ? null : problem);
    },
  });
  await mine.call.open();
  if (line !== mine) return;
  body.dataset.path = mine.call.path;
  setState("ready", inCall(mine.call));
  mute.disabled = typing;
  startClock();
  body.dataset.turn ??= "listening";
  if (typing) words.focus();
}

function setMuted(call, muted) {
  call?.mute(muted);
  mute.setAttribute("aria-pressed", String(muted));
  body.toggleAttribute("data-muted", muted);
}

connect.addEventListener("click", () => {
  if (line) hangUp(line, null);
  else placeCall({ typing: false });
});
wordless.addEventListener("click", () => {
  if (!line) placeCall({ typing: true });
});
mute.addEventListener("click", () => {
  if (line?.call) setMuted(line.call, mute.getAttribute("aria-pressed") !== "true");
});
composer.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = words.value.trim();
  if (!text || !line?.call?.send("send-text", { content: text })) return;
  line.conversation.typed(text);
  words.value = "";
});
// A page that is put away ends its call; one that comes back from the cache starts afresh.
addEventListener("pagehide", () => line && hangUp(line, null));
