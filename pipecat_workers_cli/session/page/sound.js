// The caller's microphone, the bot's voice, and a level meter for each.

import { insecure, microphoneProblem } from "./problems.js";

const FLOOR_DB = -60; // what the meters show as nothing
const FALL = 0.86; // of a meter's height, a frame: it rises at once and sinks softly
const SPOKEN_EVERY_MS = 500; // how often assistive technology is told a level

export class Sound {
  /** Measures, and plays what no peer connection brings. */
  context = new AudioContext();
  #voice;
  #meters = [];
  #frame = 0;
  #toldAt = 0;
  #over = false;

  /** @param {HTMLAudioElement} voice Plays the bot. */
  constructor(voice) {
    this.#voice = voice;
    // Made in a click, so it may run; a refusal costs the meters only.
    this.context.resume().catch(() => {});
    this.#frame = requestAnimationFrame(this.#draw);
  }

  /** Asks for the microphone. Throws a `Problem` where there is none to have. */
  async microphone() {
    if (!globalThis.isSecureContext || !navigator.mediaDevices) throw insecure();
    const wanted = { echoCancellation: true, noiseSuppression: true };
    try {
      return await navigator.mediaDevices.getUserMedia({ audio: wanted });
    } catch (error) {
      throw microphoneProblem(error);
    }
  }

  /** A stream that says nothing, for a call in typed words. */
  silence() {
    const hush = new ConstantSourceNode(this.context, { offset: 0 });
    const out = this.context.createMediaStreamDestination();
    hush.connect(out); // without a source nothing at all is sent, and the server wonders
    hush.start();
    return out.stream;
  }

  /** Plays the bot's sound. */
  play(stream) {
    this.#voice.srcObject = stream;
    this.#voice.play().catch(() => {}); // ended meanwhile
  }

  /** Shows the level of `stream` in `meter` until the sound is closed. */
  measure(stream, meter) {
    if (this.#over) return;
    const analyser = this.context.createAnalyser();
    analyser.fftSize = 1024;
    this.context.createMediaStreamSource(stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    this.#meters.push({ analyser, samples, meter, level: 0 });
  }

  #draw = (now) => {
    this.#frame = requestAnimationFrame(this.#draw);
    const tell = now - this.#toldAt > SPOKEN_EVERY_MS;
    if (tell) this.#toldAt = now;
    for (const gauge of this.#meters) {
      gauge.analyser.getFloatTimeDomainData(gauge.samples);
      gauge.level = Math.max(loudness(gauge.samples), gauge.level * FALL);
      show(gauge.meter, gauge.level, tell);
    }
  };

  /** Stops playing and measuring, and gives the audio device back. */
  close() {
    if (this.#over) return;
    this.#over = true;
    cancelAnimationFrame(this.#frame);
    for (const { meter } of this.#meters) show(meter, 0, true);
    this.#meters = [];
    this.#voice.srcObject = null;
    this.context.close().catch(() => {});
  }
}

function loudness(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const db = 10 * Math.log10(sum / samples.length + 1e-12);
  return Math.min(1, Math.max(0, 1 - db / FLOOR_DB));
}

function show(meter, level, tell) {
  meter.firstElementChild.style.clipPath = `inset(0 ${((1 - level) * 100).toFixed(1)}% 0 0)`;
  if (tell) meter.setAttribute("aria-valuenow", String(Math.round(level * 100)));
}
