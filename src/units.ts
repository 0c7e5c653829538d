// Text forms of switches, durations, sizes and counts; and text made safe for a terminal. Leaf, no dependencies.

const truths: Readonly<Record<string, boolean>> = {
  true: true,
  t: true,
  1: true,
  false: false,
  f: false,
  0: false,
};

/** "true", "t", "1", "false", "f" or "0" in any case, as Go's strconv.ParseBool; undefined for other text. */
export function parseBool(text: string): boolean | undefined {
  return truths[text.toLowerCase()];
}

const secondsOf: Readonly<Record<string, number>> = { d: 86_400, h: 3_600, m: 60, s: 1 };

/** "24h", "1h30m", "90s" → seconds; undefined for other text. A number without a unit is refused. */
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
    else if (parts.length > 0) break; // "2d5s": the seconds are of no use
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

/** Characters that a terminal acts on or hides: controls, bidi overrides, zero-width and unassigned characters. */
const unprintable = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;

/** Text from outside in one line for a terminal, with control characters escaped: names and answers may hold any. */
export function printable(text: string): string {
  return text.replace(unprintable, escaped);
}

/** The same for several lines: newlines and tabs stay. JSON has the same meaning after it. */
export function printablePage(text: string): string {
  return text.replace(unprintable, (found) => (found === '\n' || found === '\t' ? found : escaped(found)));
}

/** As JSON escapes characters, so that JSON stays valid. */
function escaped(text: string): string {
  return Array.from({ length: text.length }, (_, index) => {
    return `\\u${text.charCodeAt(index).toString(16).padStart(4, '0')}`;
  }).join('');
}
