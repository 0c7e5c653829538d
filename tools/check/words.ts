import { sourceFiles, type SourceFile } from './files.ts';

interface Rule {
  readonly pattern: RegExp;
  readonly where: RegExp;
  readonly why: string;
}

/** Conformance pages are read too: they quote the titles of tests. */
const PROSE = /^(src|bpf|native|tools|test|bench|examples|deploy|docs)\/|^[A-Z]+\.md$/;

/** Folders whose comments are wrapped. */
const WRAPPED = /^(src|native|bpf|bench|test|tools)\/(?!.*\.gen\.ts$)/;

const RULES: readonly Rule[] = [
  { pattern: /^(?=.{121})\s*(\/\/|\/?\*)/u, where: WRAPPED, why: 'wrap comments at 120 columns' },
  {
    pattern: /\b(tenants?|doomed|unheeded|distrust\w*|passed? over|in IPv6 clothes|for the worse)\b/i,
    where: /^src\/(?!(agent|api|cli|health|http|observe)\/)/,
    why: "a word of our own: use netfilter's, Kubernetes' or Cilium's",
  },
  {
    pattern: /bpf_(trace_)?printk\(/,
    where: /^bpf\//,
    why: 'no printing in shipped objects: count a verdict',
  },
  { pattern: /\b(TODO|FIXME|XXX)\b/, where: /\.(ts|mjs|c|h|cc|sh)$/, why: 'finish it or open an issue' },
  { pattern: /(^|[^\w./-])\/(work|home)\/\w/, where: /./, why: 'a path of one machine' },
  { pattern: /\.only\(|\bonly: true\b/, where: /^test\//, why: 'leaves the other tests out' },
  { pattern: /^export \* from /m, where: /^src\//, why: 'no barrels: import from the file that has it' },
  {
    pattern: /\b(whom|nobody|somebody|whoever|anybody|everybody|lest)\b/i,
    where: PROSE,
    why: 'say who or what it is',
  },
  {
    pattern: /\b([EI]-\d+|[Ss]ection [A-Z])\b/,
    where: PROSE,
    why: 'the reference leads nowhere: name a rule (S-…) or say it',
  },
];

function broken({ path, text }: SourceFile): string[] {
  return RULES.filter((rule) => rule.where.test(path)).flatMap(({ pattern, why }) =>
    text.split('\n').flatMap((line, i) => (pattern.test(line) ? [`${path}:${i + 1}: ${why}`] : [])),
  );
}

export function words(): string[] {
  const files = sourceFiles('*', ':!tools/check/words.ts', ':!package-lock.json', ':!*.sum');
  const barrels = files.filter(({ path }) => /^src\/.*\/index\.ts$/.test(path));
  return [
    ...files.flatMap(broken),
    ...barrels.map(({ path }) => `${path}: no barrels, name the file by what it does`),
  ];
}
