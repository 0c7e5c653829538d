// Which tests prove which items of the Service contract: every title in test/ that names an item as S-n.
import ts from 'typescript';
import type { SourceFile } from './check/files.ts';

export interface Proof {
  readonly item: string; // S-34, S-109a
  readonly path: string;
  readonly title: string; // without the items it names; '' when it is nothing else
}

const item = String.raw`S-(\d+)(a?)`;
/** S-34, or a range such as S-34 … S-36. */
const mention = new RegExp(String.raw`\b${item}(?:\s*…\s*${item})?`, 'g');
/** What a title says only to name items: "(S-1, S-2)" at its end, "S-1, S-2: " at its beginning. */
const list = String.raw`S-\d+a?(?:(?:,| …|…)\s*S-\d+a?)*`;
const ornament = new RegExp(String.raw`\s*\(${list}\)|^${list}(?::\s*|$)`, 'g');

export function itemsOf(text: string): readonly string[] {
  return [...text.matchAll(mention)].flatMap(([, first = '', suffix = '', last, lastSuffix = '']) => {
    if (last === undefined) return [`S-${first}${suffix}`];
    const length = Number(last) - Number(first) + 1;
    const range = Array.from({ length }, (_, i) => `S-${String(Number(first) + i)}`);
    return lastSuffix === '' ? range : [...range, `S-${last}${lastSuffix}`];
  });
}

/** Said once for each family or protocol: "…, IPv4", "…, TCP over IPv6". */
const variant = /, (IPv?)?…$/;

const bare = (text: string): string => text.replaceAll(ornament, '').trim().replace(variant, '');

export function proofsOf({ path, text }: SourceFile): readonly Proof[] {
  const titles = path.endsWith('.ts') ? titlesOf(path, text) : headOf(text);
  return titles.flatMap(({ named, title }) =>
    itemsOf(named).map((name) => ({ item: name, path, title: bare(title) })),
  );
}

interface Title {
  readonly named: string; // the text with the items in it
  readonly title: string; // of the test it belongs to
}

/** A scenario tells in its first line what it shows. */
function headOf(text: string): readonly Title[] {
  const [head = ''] = text.split('\n', 1);
  return [{ named: head, title: head.replace(/^#\s*/, '') }];
}

/**
 * Texts that name items: a test's title stands for itself; what an assertion says, or a row of a table, belongs to the
 * test around it, and a row outside of every test is a title that a loop makes a test of.
 */
function titlesOf(path: string, text: string): readonly Title[] {
  const found: Title[] = [];
  const visit = (node: ts.Node, test: string | undefined): void => {
    const title = testTitle(node) ?? test;
    const own = textOf(node);
    if (own !== undefined && itemsOf(own).length > 0) found.push({ named: own, title: title ?? own });
    ts.forEachChild(node, (child) => visit(child, title));
  };
  visit(ts.createSourceFile(path, text, ts.ScriptTarget.Latest, false), undefined);
  return found;
}

/** The title of a call such as t.test('…', …). */
function testTitle(node: ts.Node): string | undefined {
  if (!ts.isCallExpression(node) || !ts.isPropertyAccessExpression(node.expression)) return undefined;
  const [title] = node.arguments;
  return node.expression.name.text === 'test' && title !== undefined ? textOf(title) : undefined;
}

/** The text of a literal, with … for what a template puts in. */
function textOf(node: ts.Node): string | undefined {
  if (ts.isStringLiteralLike(node)) return node.text;
  if (!ts.isTemplateExpression(node)) return undefined;
  return node.head.text + node.templateSpans.map(({ literal }) => `…${literal.text}`).join('');
}
