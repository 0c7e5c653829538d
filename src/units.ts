// Text forms of quantities, both ways: durations, sizes, counts; and text made safe for a terminal. Leaf, no dependencies.

const secondsOf: Readonly<Record<string, number>> = { d: 86_400, h: 3_600, m: 60, s: 1 };

/** "24h", "1h30m", "90s" → seconds; undefined when it is not a duration. A bare number has no unit and is refused. */
export function parseDuration(text: string): number | undefined {
  if (!/^(?:\d+[dhms])+$/.test(text)) return undefined;
  let total = 0;
  for (const [, count, unit = ''] of text.matchAll(/(\d+)([dhms])/g)) {
    total += Number(count) * (secondsOf[unit] ?? 0);
  }
  return Number.isSafeInteger(total) ? total : undefined;
}

/** Seconds → "3m12s": the two largest units that are not zero, none for ages under a second ("0s"). */
export function formatDuration(seconds: number): string {
  let rest = Math.max(0, Math.floor(seconds));
  if (rest === 0) return '0s';
  const parts: string[] = [];
  for (const [unit, size] of Object.entries(secondsOf)) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) parts.push(`${String(count)}${unit}`);
    else if (parts.length > 0) break; // "2d5s" would pretend a precision that means nothing
  }
  return parts.slice(0, 2).join('');
}

/** Seconds → a duration that parseDuration reads back exactly, in the largest unit that divides it: 86400 → "24h". */
export function exactDuration(seconds: number): string {
  if (seconds > 0 && seconds % 3_600 === 0) return `${String(seconds / 3_600)}h`;
  if (seconds > 0 && seconds % 60 === 0) return `${String(seconds / 60)}m`;
  return `${String(seconds)}s`;
}

/** Bytes → "1.2 MB", in powers of 1000 as network tools count. */
export function formatBytes(bytes: number): string {
  return scaled(bytes, ['B', 'kB', 'MB', 'GB', 'TB', 'PB'], ' ');
}

/** Counts → "12345", "1.23M": exact while that is short. */
export function formatCount(count: number): string {
  return count < 1_000_000 ? String(count) : scaled(count, ['', 'k', 'M', 'G', 'T'], '');
}

function scaled(value: number, units: readonly string[], gap: string): string {
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1_000;
    unit++;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 || gap !== '' ? 1 : 2;
  return `${value.toFixed(digits)}${gap}${units[unit] ?? ''}`;
}

/** What a terminal would obey or hide instead of showing it: controls, bidi overrides, zero-width and unassigned characters. */
const unprintable = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;

/** Text from outside, for a terminal, in one line: names in manifests and answers of servers may hold anything. */
export function printable(text: string): string {
  return text.replace(unprintable, escaped);
}

/** The same for a whole page: what separates its lines and columns stays. JSON says the same after it as before. */
export function printablePage(text: string): string {
  return text.replace(unprintable, (found) => (found === '\n' || found === '\t' ? found : escaped(found)));
}

/** As JSON writes it, so that what is JSON stays so. */
function escaped(text: string): string {
  return Array.from({ length: text.length }, (_, index) => {
    return `\\u${text.charCodeAt(index).toString(16).padStart(4, '0')}`;
  }).join('');
}
