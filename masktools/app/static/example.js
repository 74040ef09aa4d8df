/** A made recording to try things on: some bars of music with two gaps, a whistle, and nothing above 5.5 kHz. */

const RATE = 22050, SECONDS = 16, BEAT = 0.5;
const CHORDS = [[57, 60, 64, 69], [53, 57, 60, 65], [48, 55, 60, 64], [55, 59, 62, 67]];
const GAPS = [[3.1, 3.55], [9.4, 10.3]];

const hertz = (/** @type {number} */ note) => 440 * 2 ** ((note - 69) / 12);

/** One sample of a plucked tone with some overtones. */
function tone(/** @type {number} */ frequency, /** @type {number} */ time) {
  let sum = 0;
  for (let part = 1; part <= 8 && part * frequency < 5500; part++) sum += Math.sin(2 * Math.PI * part * frequency * time) / (part * part) * Math.exp(-time * part * 0.9);
  return sum * Math.min(1, time * 200);
}

/** @returns {Blob} a WAV file, stereo, 16 bit */
export function makeExample() {
  const count = RATE * SECONDS, sides = [new Float32Array(count), new Float32Array(count)];
  for (let beat = 0; beat * BEAT < SECONDS; beat++) {
    const chord = CHORDS[Math.floor(beat / 8) % 4], note = chord[(beat * 3) % 4] + (beat % 8 === 5 ? 12 : 0);
    for (const [pitch, level, pan] of [[note + 12, 0.16, 0.3], [chord[0] - 12, 0.2, 0.5], [chord[(beat + 1) % 4], 0.12, 0.75]]) {
      const start = Math.round(beat * BEAT * RATE), length = Math.min(RATE * 1.6, count - start);
      for (let place = 0; place < length; place++) {
        const value = level * tone(hertz(pitch), place / RATE);
        sides[0][start + place] += value * Math.SQRT2 * (1 - pan);
        sides[1][start + place] += value * Math.SQRT2 * pan;
      }
    }
  }
  for (const side of sides) {
    for (let place = 12 * RATE; place < 13.2 * RATE; place++) side[place] += 0.05 * Math.sin(2 * Math.PI * 3200 * place / RATE);
    for (const [from, to] of GAPS) side.fill(0, Math.round(from * RATE), Math.round(to * RATE));
  }
  return new Blob([wave(sides)], { type: 'audio/wav' });
}

/** @param {Float32Array[]} sides */
function wave(sides) {
  const count = sides[0].length, bytes = new DataView(new ArrayBuffer(44 + 4 * count));
  const text = (/** @type {number} */ at, /** @type {string} */ word) => [...word].forEach((letter, number) => bytes.setUint8(at + number, letter.charCodeAt(0)));
  text(0, 'RIFF');
  bytes.setUint32(4, 36 + 4 * count, true);
  text(8, 'WAVEfmt ');
  [[16, 16, 4], [20, 1, 2], [22, 2, 2], [24, RATE, 4], [28, 4 * RATE, 4], [32, 4, 2], [34, 16, 2], [40, 4 * count, 4]].forEach(
    ([at, value, size]) => (size === 4 ? bytes.setUint32(at, value, true) : bytes.setUint16(at, value, true)));
  text(36, 'data');
  for (let place = 0; place < count; place++) {
    sides.forEach((side, channel) => bytes.setInt16(44 + 4 * place + 2 * channel, Math.round(32767 * Math.max(-1, Math.min(1, side[place]))), true));
  }
  return bytes.buffer;
}
