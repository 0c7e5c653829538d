// Splits a streamed list into its items. A list of 10 000 objects is 30 MB of JSON: parsed as a whole it would block
// the event loop for a second and fill the heap, so each item is parsed and narrowed alone.

const quote = 0x22;
const backslash = 0x5c;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;

/** Depth inside `{"items": [` – where each opening brace begins an item. */
const itemsDepth = 2;

export class ItemSplitter {
  /** What surrounds the items: kind, metadata and an empty list. */
  #envelope: Buffer[] = [];
  #item: Buffer[] = [];
  #depth = 0;
  #inItems = false;
  #inString = false;
  #escaped = false;

  /** The items that are complete now. */
  push(chunk: Buffer): string[] {
    const items: string[] = [];
    let start = 0; // of the part of this chunk that is not kept yet
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at];
      if (this.#inString) {
        this.#string(byte);
        continue;
      }
      if (byte === quote) {
        this.#inString = true;
      } else if (byte === openBrace || byte === openBracket) {
        start = this.#open(chunk, start, at, byte);
      } else if (byte === closeBrace || byte === closeBracket) {
        start = this.#close(chunk, start, at, items);
      }
    }
    this.#keep(chunk.subarray(start));
    return items;
  }

  /** The list without its items. Throws when the stream was truncated or is no JSON. */
  end(): unknown {
    return JSON.parse(Buffer.concat(this.#envelope).toString('utf8'));
  }

  #string(byte: number | undefined): void {
    if (this.#escaped) this.#escaped = false;
    else if (byte === backslash) this.#escaped = true;
    else if (byte === quote) this.#inString = false;
  }

  /** Returns the start of the part that is not kept yet. */
  #open(chunk: Buffer, start: number, at: number, byte: number): number {
    this.#depth++;
    if (this.#inItems || byte !== openBracket || this.#depth !== itemsDepth) return start;
    this.#keep(chunk.subarray(start, at + 1));
    this.#inItems = /(?<!\\)"items"\s*:\s*\[$/.test(tail(this.#envelope));
    return at + 1;
  }

  #close(chunk: Buffer, start: number, at: number, items: string[]): number {
    this.#depth--;
    if (!this.#inItems) return start;
    if (this.#depth === itemsDepth) {
      this.#keep(chunk.subarray(start, at + 1));
      const whole = Buffer.concat(this.#item).toString('utf8');
      items.push(whole.slice(whole.indexOf('{')));
      this.#item = [];
      return at + 1;
    }
    if (this.#depth > itemsDepth) return start;
    this.#inItems = false;
    this.#item = [];
    return at;
  }

  #keep(part: Buffer): void {
    if (part.length > 0) (this.#inItems ? this.#item : this.#envelope).push(part);
  }
}

/** Enough of the end to hold a key, wherever chunks end. */
function tail(parts: readonly Buffer[]): string {
  return Buffer.concat(parts.slice(-32)).subarray(-64).toString('latin1');
}
