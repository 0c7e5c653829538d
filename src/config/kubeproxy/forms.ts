// The forms in which kube-proxy takes values, translated to the text of our options.
import { isIP } from 'node:net';
import { parseBool } from '../../units.ts';

/** `read` gives the text for our option; "": kube-proxy would take its default; undefined: the value is invalid. */
export interface Form {
  readonly allowed: string; // completes "use …"
  readonly read: (raw: string) => string | undefined;
  /** A flag of this form may stand alone. */
  readonly isSwitch?: boolean;
}

export const text: Form = { allowed: 'a text', read: (raw) => raw };

export const bool: Form = {
  allowed: 'true or false',
  read: (raw) => (raw === '' ? '' : parseBool(raw)?.toString()),
  isSwitch: true,
};

const integerForm = /^([-+]?)(0x[\da-f_]+|0b[01_]+|0o?[0-7_]+|[\d_]+)$/i;

/** An integer literal of Go: "32", "-999", "+0x20", "1_000", "017" (octal); undefined for other text. */
export function goInteger(raw: string): number | undefined {
  const [, sign, digits = ''] = integerForm.exec(raw) ?? [];
  if (sign === undefined) return undefined;
  const value = Number(digits.replaceAll('_', '').replace(/^0(?=[0-7]+$)/, '0o'));
  return sign === '-' ? -value : value;
}

export function whole(min: number, max: number): Form {
  return {
    allowed: `a whole number from ${String(min)} to ${String(max)}`,
    read: (raw) => {
      if (raw === '') return '';
      const value = goInteger(raw);
      return value !== undefined && value >= min && value <= max ? String(value) : undefined;
    },
  };
}

export const rate: Form = {
  allowed: 'a number',
  read: (raw) => (Number.isFinite(Number(raw)) ? raw : undefined),
};

export function oneOf(...names: readonly string[]): Form {
  return {
    allowed: `one of ${names.join(', ')}`,
    read: (raw) => (raw === '' || names.includes(raw) ? raw : undefined),
  };
}

const unitSeconds: Readonly<Record<string, number>> = {
  h: 3_600,
  m: 60,
  s: 1,
  ms: 1e-3,
  us: 1e-6,
  µs: 1e-6,
  ns: 1e-9,
};

/** "1h0m0s", "1.5s", "0" → seconds, as Go's time.ParseDuration; undefined for other text. */
export function goSeconds(raw: string): number | undefined {
  const [, sign = '', rest = ''] = /^([-+]?)(.*)$/.exec(raw) ?? [];
  if (rest === '0') return 0;
  if (!/^(?:(?:\d+\.?\d*|\.\d+)(?:h|ms|m|s|us|µs|ns))+$/.test(rest)) return undefined;
  let total = 0;
  for (const [, count, unit = ''] of rest.matchAll(/(\d+\.?\d*|\.\d+)(h|ms|m|s|us|µs|ns)/g)) {
    total += Number(count) * (unitSeconds[unit] ?? 0);
  }
  return sign === '-' ? -total : total;
}

/** 0 stands for the default. Our options have whole seconds, so fractions are rounded up. */
export const time: Form = {
  allowed: 'a time such as 30s or 1h0m0s, not less than 0s',
  read: (raw) => {
    const seconds = raw === '' ? 0 : goSeconds(raw);
    if (seconds === undefined || seconds < 0) return undefined;
    return seconds === 0 ? '' : `${String(Math.ceil(seconds))}s`;
  },
};

/** An address of the node; the unspecified address counts as not given. */
export const bindAddress: Form = {
  allowed: 'an IPv4 or IPv6 address',
  read: (raw) => {
    if (raw === '' || raw === '0.0.0.0' || raw === '::') return '';
    return isIP(raw) === 0 ? undefined : raw;
  },
};

const ports = /^(?:|\d{1,5}[-+]\d{1,5}|\d{1,5})$/;
export const portRange: Form = {
  allowed: 'ports such as 1024-2048',
  read: (raw) => (ports.test(raw) ? raw : undefined),
};

export const gates: Form = {
  allowed: 'gates such as Name=true,Other=false',
  read: (raw) => {
    const pairs = raw.split(',').map((pair) => pair.trim().split('='));
    const fine = pairs.every(
      ([name = '', on = '', ...more]) =>
        name.trim() !== '' && more.length === 0 && parseBool(on.trim()) !== undefined,
    );
    return raw.trim() === '' || fine ? raw : undefined;
  },
};

/** klog's verbosity: 4 and above is our debug level. */
export const verbosity: Form = {
  allowed: 'a whole number such as 2',
  read: (raw) => {
    const level = raw.replace(/^=/, '');
    if (!/^\d*$/.test(level)) return undefined;
    return Number(level) >= 4 ? 'debug' : '';
  },
};
