import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { sourceFiles, type SourceFile } from './files.ts';

const FENCED = /^([ \t]*)```.*\n[\s\S]*?\n\1```/gm;
const LINK = /\]\(([^()\s]+)\)/g;
const PATH = /`((?:bench|bpf|deploy|docs|examples|native|src|test|tools)\/[\w./-]*\w)`/g;
/** Files of an example (`bpf/abi/x.h`), and those that a build makes. */
const NOT_IN_GIT = /\/x(\.bpf)?\.\w+$|^(bpf\/out|native\/build)\//;
/** A page that code or a manifest sends its reader to. */
const PAGE = /\bdocs\/[\w/-]+\.md(?:#[\w-]+)?/g;

/** Anchors of the headings of a page as GitHub makes them: of two equal ones the second gets a number. */
function anchors(text: string): ReadonlySet<string> {
  const seen = new Map<string, number>();
  const headings = [...text.replace(FENCED, '').matchAll(/^#{1,6} (.+)$/gm)];
  return new Set(
    headings.map(([, title = '']) => {
      const plain = title
        .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, '')
        .replaceAll(' ', '-');
      const before = seen.get(plain) ?? 0;
      seen.set(plain, before + 1);
      return before === 0 ? plain : `${plain}-${String(before)}`;
    }),
  );
}

/**
 * Every relative link and anchor in a Markdown file, every path of this repository that one names in backticks, and
 * every docs page that another file names, leads somewhere. Returns the others as lines.
 */
export function links(): string[] {
  const files = sourceFiles('*', ':!*.gen.ts', ':!package-lock.json', ':!*.sum');
  const pages = new Map(files.filter(({ path }) => path.endsWith('.md')).map((page) => [page.path, page]));
  const dead = (from: string, link: string): boolean => {
    const [path = '', anchor] = link.split('#');
    const target = path === '' ? from : join(dirname(from), path);
    const page = pages.get(target);
    return (
      !existsSync(target) || (anchor !== undefined && page !== undefined && !anchors(page.text).has(anchor))
    );
  };
  const inPage = ({ path, text }: SourceFile): string[] => {
    const prose = text.replace(FENCED, '');
    const targets = [...prose.matchAll(LINK)]
      .map(([, link = '']) => link)
      .filter((link) => !/^\w+:/.test(link));
    const named = [...prose.matchAll(PATH)]
      .map(([, name = '']) => name)
      .filter((name) => !NOT_IN_GIT.test(name));
    return [
      ...targets.filter((link) => dead(path, link)).map((link) => `${path}: dead link ${link}`),
      ...named.filter((name) => !existsSync(name)).map((name) => `${path}: there is no ${name}`),
    ];
  };
  const elsewhere = ({ path, text }: SourceFile): string[] =>
    [...text.matchAll(PAGE)]
      .filter(([link]) => dead('README.md', link))
      .map(([link]) => `${path}: dead link ${link}`);
  return files.flatMap((file) => (pages.has(file.path) ? inPage(file) : elsewhere(file)));
}
