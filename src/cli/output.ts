// Output: tables for people, JSON for programs.
import type { Problem } from '../api/bodies.ts';
import { printable } from '../units.ts';

export interface Column<Row> {
  readonly title: string;
  readonly cell: (row: Row) => string;
  readonly right?: boolean; // numbers
}

/** Aligned columns, two spaces apart; an empty cell is "-". Without rows the text is `empty`. */
export function table<Row>(columns: readonly Column<Row>[], rows: readonly Row[], empty: string): string {
  if (rows.length === 0) return `${empty}\n`;
  const cells = [
    columns.map(({ title }) => title),
    ...rows.map((row) => columns.map(({ cell }) => printable(cell(row)) || '-')),
  ];
  const widths = columns.map((_, index) => Math.max(...cells.map((line) => line[index]?.length ?? 0)));
  const pad = (text: string, index: number): string =>
    columns[index]?.right === true ? text.padStart(widths[index] ?? 0) : text.padEnd(widths[index] ?? 0);
  return cells.map((line) => `${line.map(pad).join('  ').trimEnd()}\n`).join('');
}

/** Lines of "name  value", with the values in one column. */
export function facts(pairs: readonly (readonly [name: string, value: string])[]): string {
  const width = Math.max(...pairs.map(([name]) => name.length));
  return pairs.map(([name, value]) => `${name.padEnd(width)}  ${printable(value)}\n`).join('');
}

/** A line of what is wrong, with its kind in the first column. */
export function printLine(what: string, text: string): string {
  return `${what.padEnd(9)}${printable(text)}\n`;
}

export function printProblem({ where, field, message }: Problem): string {
  return printLine('problem', `${where}: ${field === '' ? '' : `${field}: `}${message}`);
}

export function json(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

export type OutputFormat = 'table' | 'json';
