// A watch is a stream of JSON objects, one a line. Chunks end where they like.

const newline = 0x0a;

export class LineSplitter {
  #rest: Buffer[] = [];

  /** The lines that are whole now. Decoding waits for the end of the line, so no character is ever cut in two. */
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

  /** Something was begun and not ended. */
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
