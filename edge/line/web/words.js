// Numbers and times in words.

const plain = new Intl.NumberFormat("en");
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const hours = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

export const count = (number) => plain.format(number);

/** With few digits: 0.0312, 4.13, 51. */
export function figure(number) {
  if (!Number.isFinite(number)) return "–";
  return Math.abs(number) >= 100 ? count(Math.round(number)) : String(Number(number.toPrecision(3)));
}

/** With the same number of digits, so that two can be compared: 0.540, 1.00, 12.4. */
export function score(number) {
  const plainly = number === 0 || (Math.abs(number) >= 0.001 && Math.abs(number) < 100_000);
  return plainly ? (Math.abs(number) < 100 ? number.toPrecision(3) : String(Math.round(number))) : number.toExponential(2);
}

export function share(part, whole) {
  if (!whole) return "–";
  const percent = (100 * part) / whole;
  return `${percent > 0 && percent < 0.1 ? "<0.1" : percent.toFixed(percent < 10 ? 1 : 0)} %`;
}

export function size(bytes) {
  for (const [unit, length] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (bytes >= length) return `${figure(bytes / length)} ${unit}`;
  }
  return `${bytes} B`;
}

export function duration(seconds) {
  if (seconds < 60) return `${seconds < 10 && seconds % 1 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

/** A moment by this machine's clock; the day too, where it is not today. */
export const moment = (date) => withDay(date, clock);

/** The same without seconds. */
export const minute = (date) => withDay(date, hours);

function withDay(date, form) {
  const today = new Date().toDateString() === date.toDateString();
  return today ? form.format(date) : `${day.format(date)}, ${form.format(date)}`;
}

export const short = (digest) => digest.slice(0, 12);

export const named = (detector) => (detector === "server" ? "edge server" : detector);
