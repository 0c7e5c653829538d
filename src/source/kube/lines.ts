// Splits the stream of a watch, which has one JSON object per line, into lines.

const newline = 0x0a;

export class LineSplitter {
  #rest: Buffer[] = [];

  /** The lines that are complete now. They are decoded as a whole: a chunk may end within a UTF-8 sequence. */
  push(chunk: Buffer): string[] {
    const lines: string[] = [];
    let start = 0;
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
      const line = this.#join(chunk.subarray(start, end));
      if (line.trim() !== '') lines.push(line);
      start = end + 1;
    }
    if (start < chunk.length) this.#rest.push(chunk.subarray(start));
    return lines;
  }

  /** Whether the last line is incomplete. */
  get cut(): boolean {
    return this.#rest.length > 0;
  }

  #join(end: Buffer): string {
    if (this.#rest.length === 0) return end.toString('utf8');
    const whole = Buffer.concat([...this.#rest, end]).toString('utf8');
    this.#rest = [];
    return whole;
  }
}
