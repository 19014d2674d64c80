// Pipecat's frames as they travel over a WebSocket: the protobuf messages of its frames.proto.
// Only what a call needs is written and read; fields that are not known are passed over.

const AUDIO = 2; // fields of `Frame`, of which one is there
const MESSAGE = 4;
const INTERRUPTION = 5;
const SOUND = { audio: 3, rate: 4, channels: 5 }; // fields of `AudioRawFrame`
const DATA = 1; // field of `MessageFrame`
const [VARINT, FIXED64, BYTES, FIXED32] = [0, 1, 2, 5]; // protobuf's wire types

function varint(value) {
  const bytes = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return [...bytes, value];
}

const number = (field, value) => [(field << 3) | VARINT, ...varint(value)];

/** One field of bytes, between what stands before and behind it in the same message. */
function wrapped(field, bytes, behind = []) {
  const head = [(field << 3) | BYTES, ...varint(bytes.length)];
  const whole = new Uint8Array(head.length + bytes.length + behind.length);
  whole.set(head);
  whole.set(bytes, head.length);
  whole.set(behind, head.length + bytes.length);
  return whole;
}

/** A frame of mono sound; `samples` is an Int16Array. */
export function encodeAudio(samples, rate) {
  const bytes = new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
  const about = [...number(SOUND.rate, rate), ...number(SOUND.channels, 1)];
  return wrapped(AUDIO, wrapped(SOUND.audio, bytes, about));
}

/** A frame that carries one RTVI message. */
export function encodeMessage(text) {
  return wrapped(MESSAGE, wrapped(DATA, new TextEncoder().encode(text)));
}

class Reader {
  #bytes;
  #at = 0;

  constructor(bytes) {
    this.#bytes = bytes;
  }

  #take(count) {
    const end = this.#at + count;
    if (end > this.#bytes.length) throw new RangeError("a frame is cut off");
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }

  #varint() {
    let value = 0; // ids have 64 bits and lose some here; nobody asks for them
    for (let scale = 1; ; scale *= 128) {
      const [byte] = this.#take(1);
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  }

  /** Each field's number and what it holds: a number, or its bytes. */
  *fields() {
    while (this.#at < this.#bytes.length) {
      const tag = this.#varint();
      yield [Math.floor(tag / 8), this.#held(tag % 8)];
    }
  }

  #held(type) {
    if (type === VARINT) return this.#varint();
    if (type === BYTES) return this.#take(this.#varint());
    if (type === FIXED32) return this.#take(4);
    if (type === FIXED64) return this.#take(8);
    throw new RangeError(`a frame has a field of type ${type}`);
  }
}

const fieldsOf = (bytes) => new Map(new Reader(bytes).fields());

/** What a frame holds by its field in `Frame`. */
const DECODE = {
  [AUDIO]: (bytes) => {
    const fields = fieldsOf(bytes);
    const sound = fields.get(SOUND.audio) ?? new Uint8Array();
    const samples = new Int16Array(sound.slice(0, sound.length & ~1).buffer);
    const [rate, channels] = [fields.get(SOUND.rate), fields.get(SOUND.channels)];
    if (!(rate >= 8000 && rate <= 192_000)) throw new RangeError("a frame has no sample rate");
    const mono = channels > 1 ? samples.filter((_, at) => at % channels === 0) : samples;
    return { kind: "audio", samples: mono, rate };
  },
  [MESSAGE]: (bytes) => {
    const data = fieldsOf(bytes).get(DATA);
    return { kind: "message", text: new TextDecoder().decode(data) };
  },
  [INTERRUPTION]: () => ({ kind: "interruption" }),
};

/**
 * Reads one frame: `{kind: "audio", samples, rate}`, `{kind: "message", text}`,
 * `{kind: "interruption"}`, or null for what a call has no use for.
 */
export function decodeFrame(buffer) {
  try {
    for (const [field, bytes] of new Reader(new Uint8Array(buffer)).fields()) {
      if (DECODE[field]) return DECODE[field](bytes);
    }
  } catch (error) {
    if (!(error instanceof RangeError) && !(error instanceof TypeError)) throw error;
  }
  return null; // or it is no frame of Pipecat's
}
