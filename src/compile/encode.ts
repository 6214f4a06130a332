/** Lowered programs to bytes, as native/README.md describes them. */
import type { Arena } from "./arena.ts";
import { crc32 } from "./crc32.ts";
import type { Buffer, Lowered, Window } from "./lir.ts";
import { ABI_VERSION, OP_TABLE_HASH, OPCODES } from "./opcodes.ts";

/** "COFP". */
export const MAGIC = 0x50464f43;
export const HEADER_WORDS = 16;
const CHECKSUM_WORD = 4;
const ARENA_WORD = 13;
const KINDS = { state: 0, feed: 1, fetch: 2, constant: 3, arena: 4 } as const;
const RANK = 6, LOOPS = 3;

/** Bytes of temporaries that an encoded program needs at once. */
export function arenaBytesOf(program: Uint8Array): number {
  const header = new DataView(program.buffer, program.byteOffset);
  return header.getUint32(4 * ARENA_WORD, true) + header.getUint32(4 * (ARENA_WORD + 1), true) * 2 ** 32;
}

class Words {
  #words = new Uint32Array(1 << 12);
  length = 0;

  push(...values: number[]): void {
    if (this.length + values.length > this.#words.length) {
      const grown = new Uint32Array(Math.max(this.#words.length * 2, this.length + values.length));
      grown.set(this.#words);
      this.#words = grown;
    }
    for (const v of values) this.#words[this.length++] = v;
  }

  push64(value: number): void {
    this.push(value >>> 0, Math.floor(value / 2 ** 32));
  }

  bytes(): Uint8Array {
    return new Uint8Array(this.#words.buffer, 0, this.length * 4);
  }
}

function padded(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(Math.ceil(bytes.length / 64) * 64);
  out.set(bytes);
  return out;
}

function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    out.set(p, at);
    at += p.length;
  }
  return out;
}

class Names {
  readonly #ids = new Map<string, number>();

  id(name: string): number {
    let id = this.#ids.get(name);
    if (id === undefined) this.#ids.set(name, id = this.#ids.size);
    return id;
  }

  get count(): number {
    return this.#ids.size;
  }

  bytes(): Uint8Array {
    const texts = [...this.#ids.keys()].map((n) => new TextEncoder().encode(n));
    const head = new Words();
    for (const t of texts) head.push(t.length);
    return concat([head.bytes(), ...texts]);
  }
}

class Tensors {
  readonly words = new Words();
  readonly #ids = new Map<string, number>();
  readonly #index: ReadonlyMap<Buffer, number>;

  constructor(index: ReadonlyMap<Buffer, number>) {
    this.#index = index;
  }

  id(w: Window): number {
    // Scalars travel as one element of rank 1.
    const shape = w.layout.shape.length === 0 ? [1] : w.layout.shape;
    const strides = w.layout.shape.length === 0 ? [1] : w.layout.strides;
    const key = `${w.buffer.id}|${w.layout.offset}|${shape}|${strides}|${w.loops}`;
    let id = this.#ids.get(key);
    if (id === undefined) {
      this.#ids.set(key, id = this.#ids.size);
      this.words.push(this.#index.get(w.buffer)!, w.buffer.dtype === "f32" ? 0 : 1, shape.length);
      this.words.push64(w.layout.offset);
      for (let i = 0; i < RANK; i++) this.words.push(shape[i] ?? 0);
      for (let i = 0; i < RANK; i++) this.words.push(strides[i] ?? 0);
      for (let i = 0; i < LOOPS; i++) this.words.push(w.loops[i] ?? 0);
    }
    return id;
  }

  get count(): number {
    return this.#ids.size;
  }
}

/** Encodes a lowered computation with its memory plan. */
export function encode(lowered: Lowered, arena: Arena): Uint8Array<ArrayBuffer> {
  const used = new Set<Buffer>();
  for (const instr of lowered.instrs) for (const w of [...instr.inputs, ...instr.outputs]) used.add(w.buffer);
  const buffers = lowered.buffers.filter((b) => used.has(b));
  const index = new Map(buffers.map((b, i) => [b, i]));
  const names = new Names();
  const tensors = new Tensors(index);
  const code = new Words();
  for (const { op, name, inputs, outputs, attrs } of lowered.instrs) {
    const ids = [...inputs, ...outputs].map((w) => tensors.id(w));
    code.push(
      OPCODES[op],
      6 + ids.length + attrs.length,
      names.id(name),
      inputs.length,
      outputs.length,
      attrs.length,
      ...ids,
      ...attrs,
    );
  }
  const table = new Words();
  let constantBytes = 0;
  const constants: Uint8Array[] = [];
  for (const b of buffers) {
    let offset = 0;
    if (b.kind === "arena") offset = arena.offsets.get(b)! * 4;
    if (b.kind === "constant") {
      offset = constantBytes;
      const bytes = padded(new Uint8Array(b.data!.buffer, b.data!.byteOffset, b.data!.byteLength));
      constants.push(bytes);
      constantBytes += bytes.length;
    }
    const named = b.kind === "state" || b.kind === "feed" || b.kind === "fetch";
    table.push(KINDS[b.kind], b.dtype === "f32" ? 0 : 1);
    table.push64(offset);
    table.push64(b.size * 4);
    table.push(named ? names.id(b.name) + 1 : 0, named ? b.shape.length : 0, ...(named ? b.shape : []));
  }
  const body = concat(
    [names.bytes(), table.bytes(), tensors.words.bytes(), code.bytes()].map(padded).concat(constants),
  );
  const header = new Words();
  header.push(MAGIC, ABI_VERSION, Number(OP_TABLE_HASH & 0xffffffffn), Number(OP_TABLE_HASH >> 32n), 0);
  header.push64(HEADER_WORDS * 4 + body.length);
  header.push(names.count, buffers.length, tensors.count, lowered.instrs.length, code.length, lowered.commit);
  header.push64(arena.elements * 4);
  header.push(constantBytes);
  const bytes = concat([header.bytes(), body]);
  new DataView(bytes.buffer).setUint32(CHECKSUM_WORD * 4, crc32(bytes), true);
  return bytes;
}
