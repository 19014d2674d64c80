// What runs in the browser's audio thread when sound goes over a WebSocket: `pmw-ear` makes
// the microphone's samples what the server takes, `pmw-mouth` plays what the server sends.

const RATE = 16_000; // Hz, of what the server hears
const BLOCK = 320; // samples sent at once: 20 ms
const ZEROS = 8; // of the filter's sinc on either side; aliases are 50 dB down with it
const PASS = 0.9; // of the band below half of RATE
const PHASES = 64; // places between two samples at which the filter is known
const LEAD = 0.08; // seconds queued before a voice begins, so that a late block makes no gap
const MOST = 60; // seconds queued; a server that paces its voice is a second ahead at most

/** A low-pass filter at `PHASES` places between two samples of `step` a sample of `RATE`. */
function filters(step) {
  const cut = PASS * Math.min(1, 1 / step);
  const half = Math.ceil(ZEROS * Math.max(1, step));
  const table = [];
  for (let phase = 0; phase < PHASES; phase++) {
    const taps = new Float32Array(2 * half);
    let sum = 0;
    for (let i = 0; i < taps.length; i++) {
      const x = i - half + 1 - phase / PHASES;
      const sinc = x === 0 ? cut : Math.sin(Math.PI * cut * x) / (Math.PI * x);
      taps[i] = sinc * (0.5 + 0.5 * Math.cos((Math.PI * x) / (half + 1)));
      sum += taps[i];
    }
    table.push(taps.map((tap) => tap / sum));
  }
  return table;
}

class Ear extends AudioWorkletProcessor {
  #step = sampleRate / RATE;
  #filters = filters(sampleRate / RATE);
  #taps = this.#filters[0].length;
  #past = new Float32Array(this.#taps);
  #at = 0; // where in `#past` and what follows it the next sample lies
  #block = new Int16Array(BLOCK);
  #filled = 0;

  process([[input]]) {
    const fresh = input ?? new Float32Array(128); // a track that has ended is silence
    const samples = new Float32Array(this.#past.length + fresh.length);
    samples.set(this.#past);
    samples.set(fresh, this.#past.length);
    for (; Math.floor(this.#at) + this.#taps <= samples.length; this.#at += this.#step) {
      const first = Math.floor(this.#at);
      const taps = this.#filters[Math.floor((this.#at - first) * PHASES)];
      let sum = 0;
      for (let i = 0; i < taps.length; i++) sum += samples[first + i] * taps[i];
      this.#put(sum);
    }
    const kept = Math.min(Math.floor(this.#at), samples.length);
    this.#past = samples.subarray(kept);
    this.#at -= kept;
    return true;
  }

  #put(sample) {
    this.#block[this.#filled++] = Math.max(-1, Math.min(1, sample)) * 32767;
    if (this.#filled < BLOCK) return;
    this.port.postMessage(this.#block, [this.#block.buffer]);
    this.#block = new Int16Array(BLOCK);
    this.#filled = 0;
  }
}

class Mouth extends AudioWorkletProcessor {
  #queue = []; // Int16Arrays not yet played
  #queued = 0; // samples in it
  #rate = 24_000; // Hz, of what is in it
  #at = 0; // how much of the first array is played
  #last = new Float32Array(4); // the samples around what is played now
  #between = 1; // place between the middle two of them; from 1 on the next is due
  #playing = false;
  #waited = 0; // seconds since something was queued that does not play yet
  #draining = false;

  constructor() {
    super();
    this.port.onmessage = ({ data }) => {
      if (data === "hush") this.#hush();
      else if (data === "drain") this.#draining = true;
      else this.#take(data);
    };
  }

  #take({ samples, rate }) {
    this.#rate = rate;
    if (this.#queued > MOST * rate) return;
    this.#queue.push(samples);
    this.#queued += samples.length;
  }

  #hush() {
    this.#queue = [];
    this.#queued = this.#at = 0;
    this.#playing = false;
  }

  #next() {
    if (!this.#queued) return 0;
    const [first] = this.#queue;
    const sample = first[this.#at++] / 32768;
    this.#queued -= 1;
    if (this.#at === first.length) {
      this.#queue.shift();
      this.#at = 0;
    }
    return sample;
  }

  /** The curve through the two samples around it, with the slopes that their neighbours give. */
  #sample() {
    for (; this.#between >= 1; this.#between -= 1) {
      this.#last.copyWithin(0, 1);
      this.#last[3] = this.#next();
    }
    const [before, from, to, after] = this.#last;
    const x = this.#between;
    this.#between += this.#rate / sampleRate;
    const [rise, slope] = [(to - before) / 2, (after - from) / 2];
    const bend = 2 * (from - to) + rise + slope;
    return ((bend * x + 3 * (to - from) - 2 * rise - slope) * x + rise) * x + from;
  }

  process(_inputs, [[output]]) {
    if (this.#queued && !this.#playing) {
      this.#waited += output.length / sampleRate;
      const enough = this.#queued >= LEAD * this.#rate || this.#waited >= LEAD;
      this.#playing = enough || this.#draining;
    }
    for (let i = 0; i < output.length; i++) output[i] = this.#playing ? this.#sample() : 0;
    if (!this.#queued) {
      this.#playing = false;
      this.#waited = 0;
      if (this.#draining) this.port.postMessage("drained");
    }
    return true;
  }
}

registerProcessor("pmw-ear", Ear);
registerProcessor("pmw-mouth", Mouth);
