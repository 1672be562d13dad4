// Decoding, loudness, and playing all sources on one clock.

const VIEW = JSON.parse(document.getElementById("view").textContent);
const FADE = 0.008; // seconds a switch takes; short enough to compare, too long to click

// Decode one source of a region; every browser reads MP3, and the context keeps its sample rate.
function decode(region, source) {
  const text = document.getElementById(`audio-${region}-${source}`).textContent;
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new OfflineAudioContext(1, 1, VIEW.rate).decodeAudioData(bytes.buffer);
}

// A second-order filter in direct form; b and a are its coefficients, a[0] is 1.
function filtered(samples, b, a) {
  const out = new Float32Array(samples.length);
  let [x1, x2, y1, y2] = [0, 0, 0, 0];
  for (let i = 0; i < samples.length; i++) {
    const x = samples[i];
    const y = b[0] * x + b[1] * x1 + b[2] * x2 - a[1] * y1 - a[2] * y2;
    [x2, x1, y2, y1] = [x1, x, y1, y];
    out[i] = y;
  }
  return out;
}

// The two filters of K-weighting, ITU-R BS.1770, from their analogue shapes for any sample rate.
function weighting(rate) {
  const [lift, edge, steep] = [3.999843853973347, 1681.974450955533, 0.7071752369554196];
  const k = Math.tan((Math.PI * edge) / rate);
  const high = 10 ** (lift / 20);
  const band = high ** 0.4996667741545416;
  const norm = 1 + k / steep + k * k;
  const shelf = {
    b: [(high + (band * k) / steep + k * k) / norm, (2 * (k * k - high)) / norm, (high - (band * k) / steep + k * k) / norm],
    a: [1, (2 * (k * k - 1)) / norm, (1 - k / steep + k * k) / norm],
  };
  const low = Math.tan((Math.PI * 38.13547087602444) / rate);
  const q = 0.5003270373238773;
  const base = 1 + low / q + low * low;
  const pass = { b: [1, -2, 1], a: [1, (2 * (low * low - 1)) / base, (1 - low / q + low * low) / base] };
  return [shelf, pass];
}

// Loudness in dB (LKFS without the gate) of channels, each an array of samples.
function loudness(channels, rate) {
  let power = 0;
  for (const samples of channels) {
    const weighted = weighting(rate).reduce((signal, { b, a }) => filtered(signal, b, a), samples);
    power += weighted.reduce((sum, x) => sum + x * x, 0) / Math.max(1, weighted.length);
  }
  return power > 0 ? -0.691 + 10 * Math.log10(power) : -Infinity;
}

// All sources play together; their gains decide which one is audible.
class Player {
  constructor(onEnd) {
    this.onEnd = onEnd;
    this.context = null;
    this.nodes = [];
    this.levels = [];
    this.playing = false;
    this.at = 0; // seconds into the region, while paused
    this.loop = true;
  }

  // Load the sources of another excerpt: buffers of equal length, and [from, to] within them.
  load(buffers, from, to) {
    this.pause();
    [this.buffers, this.from, this.to, this.at] = [buffers, from, to, from];
  }

  position() {
    if (!this.playing) return this.at;
    const gone = Math.max(0, this.context.currentTime - this.began) + this.at - this.from;
    const length = this.to - this.from;
    return this.from + (this.loop ? gone % length : Math.min(gone, length));
  }

  async play() {
    this.context ??= new AudioContext({ sampleRate: VIEW.rate });
    await this.context.resume();
    if (this.playing) return;
    if (this.at >= this.to) this.at = this.from;
    this.began = this.context.currentTime + 0.03;
    this.nodes = this.connect(this.context, this.began);
    this.playing = true;
    this.nodes[0].source.onended = () => this.ended();
  }

  // Start all sources at the same time and position.
  connect(context, when) {
    return this.buffers.map((buffer, i) => {
      const source = new AudioBufferSourceNode(context, { buffer, loop: this.loop, loopStart: this.from, loopEnd: this.to });
      const gain = new GainNode(context, { gain: this.levels[i] ?? 0 });
      source.connect(gain).connect(context.destination);
      if (this.loop) source.start(when, this.at);
      else source.start(when, this.at, this.to - this.at);
      return { source, gain };
    });
  }

  ended() {
    this.pause();
    this.at = this.from;
    this.onEnd();
  }

  pause() {
    if (!this.playing) return;
    this.at = this.position();
    this.playing = false;
    for (const { source } of this.nodes) {
      source.onended = null;
      source.stop();
    }
  }

  async seek(at) {
    const was = this.playing;
    this.pause();
    this.at = Math.min(Math.max(at, this.from), this.to - 0.01);
    if (was) await this.play();
  }

  async setLoop(loop) {
    const was = this.playing;
    this.pause();
    this.loop = loop;
    if (was) await this.play();
  }

  // Fade to other gains, one per source; a negative gain inverts a source, so that it subtracts.
  mix(levels) {
    this.levels = levels;
    if (!this.playing) return;
    const now = this.context.currentTime;
    this.nodes.forEach(({ gain }, i) => {
      gain.gain.cancelScheduledValues(now);
      gain.gain.setValueAtTime(gain.gain.value, now);
      gain.gain.linearRampToValueAtTime(levels[i], now + FADE);
    });
  }
}
