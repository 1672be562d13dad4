// Waveforms and spectrograms, drawn from samples.

const FRAME = 2048; // samples of a spectrum
const LOWEST = 40; // Hz
const RANGE = 90; // dB
// Cividis (Nuñez, Anderton and Renslow, 2018) at six points: also clear to color-blind readers.
const COLORS = [[0, 32, 76], [49, 68, 107], [102, 105, 112], [149, 143, 120], [202, 185, 105], [255, 234, 70]];
const PALETTE = Array.from({ length: 256 }, (_, i) => {
  const place = (i / 255) * (COLORS.length - 1);
  const low = Math.min(Math.floor(place), COLORS.length - 2);
  return COLORS[low].map((from, c) => Math.round(from + (place - low) * (COLORS[low + 1][c] - from)));
});

function mono(channels) {
  if (channels.length === 1) return channels[0];
  return channels[0].map((x, i) => (x + channels[1][i]) / 2);
}

function drawWave(path, samples, peak) {
  const width = 800;
  const parts = [];
  for (let x = 0; x < width; x++) {
    const from = Math.floor((x * samples.length) / width);
    const to = Math.max(from + 1, Math.floor(((x + 1) * samples.length) / width));
    let [low, high] = [0, 0];
    for (let i = from; i < Math.min(to, samples.length); i++) {
      low = Math.min(low, samples[i]);
      high = Math.max(high, samples[i]);
    }
    parts.push(`M${x} ${(-high / peak).toFixed(3)}V${(-low / peak).toFixed(3)}`);
  }
  path.setAttribute("d", parts.join(""));
}

const COSINE = Float64Array.from({ length: FRAME }, (_, i) => Math.cos((-2 * Math.PI * i) / FRAME));
const SINE = Float64Array.from({ length: FRAME }, (_, i) => Math.sin((-2 * Math.PI * i) / FRAME));

// Fast Fourier transform of FRAME samples, in place.
function fft(re, im) {
  const n = FRAME;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [re[i], re[j]] = [re[j], re[i]];
      [im[i], im[j]] = [im[j], im[i]];
    }
  }
  for (let size = 2; size <= n; size *= 2) {
    const half = size / 2;
    for (let k = 0; k < half; k++) {
      const [c, s] = [COSINE[(k * FRAME) / size], SINE[(k * FRAME) / size]];
      for (let i = k; i < n; i += size) {
        const j = i + half;
        const [x, y] = [re[j] * c - im[j] * s, re[j] * s + im[j] * c];
        [re[j], im[j]] = [re[i] - x, im[i] - y];
        re[i] += x;
        im[i] += y;
      }
    }
  }
}

const WINDOW = Float64Array.from({ length: FRAME }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / FRAME));

// Magnitudes in dB of the spectrum around a sample; a sine of full scale has 0 dB.
function spectrum(samples, centre) {
  const re = new Float64Array(FRAME);
  const im = new Float64Array(FRAME);
  for (let i = 0; i < FRAME; i++) re[i] = (samples[centre - FRAME / 2 + i] ?? 0) * WINDOW[i];
  fft(re, im);
  return Float64Array.from({ length: FRAME / 2 + 1 }, (_, k) => 20 * Math.log10(Math.hypot(re[k], im[k]) / (FRAME / 4) + 1e-9));
}

// The largest magnitude of the bins between two frequencies, so that no spectral line is lost between pixels.
function largest(magnitudes, from, to) {
  const first = Math.min(Math.max(0, Math.round(from)), magnitudes.length - 1);
  let found = magnitudes[first];
  for (let k = first + 1; k < Math.min(to, magnitudes.length); k++) found = Math.max(found, magnitudes[k]);
  return found;
}

function drawSpectrogram(canvas, samples, rate) {
  const { width, height } = canvas;
  const paint = canvas.getContext("2d");
  const image = paint.createImageData(width, height);
  const bin = (y) => (LOWEST * (rate / 2 / LOWEST) ** ((height - y) / height) * FRAME) / rate;
  const edges = Array.from({ length: height + 1 }, (_, y) => bin(y));
  for (let x = 0; x < width; x++) {
    const magnitudes = spectrum(samples, Math.round(((x + 0.5) * samples.length) / width));
    for (let y = 0; y < height; y++) {
      const level = 1 + largest(magnitudes, edges[y + 1], edges[y]) / RANGE;
      const color = PALETTE[Math.round(255 * Math.min(Math.max(level, 0), 1))];
      image.data.set([...color, 255], 4 * (y * width + x));
    }
  }
  paint.putImageData(image, 0, 0);
}
