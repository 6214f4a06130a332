/**
 * A restricted unpickler (Python's pickle protocols 2 to 5). It builds plain values and containers, and calls nothing but what its user lists: a
 * pickle is a program, and a file may come from anywhere. No recursion, and limits on everything that a small file could blow up.
 */
import { Buffer } from "node:buffer";
import type { ErrorClass } from "../errors.ts";
import {
  PickleDict,
  PickleGlobal,
  type PickleKey,
  PickleObject,
  PickleSequence,
  type PickleValue,
} from "./pickle_values.ts";

/** What a pickle may refer to. */
export interface PickleHost {
  /** What it may name, by `module.name`. */
  readonly globals: ReadonlyMap<string, PickleGlobal>;
  /** Finds what it refers to by a persistent id. Absent: no such references. */
  readonly persistent?: (id: PickleValue) => PickleValue;
  /** What to call the file in errors. */
  readonly label: string;
  readonly fail: ErrorClass;
}

/** Containers inside one another, and marks on the stack; checkpoints need 6. */
const MAX_DEPTH = 100;
/** Containers and objects in all: a checkpoint of a large network with its optimizers has 100,000. */
const MAX_MADE = 500_000;
/** Bytes of a number: PyTorch's own magic number has 10. */
const MAX_INTEGER_BYTES = 16;

/** A value and where its pickle ends. */
export interface Unpickled {
  readonly value: PickleValue;
  /** One past the pickle's last byte. */
  readonly end: number;
}

/**
 * Reads the pickle that starts at `begin`.
 *
 * @throws as `host.fail` if it is cut short, names what the host does not know, nests too deep or is no pickle
 */
export function unpickle(bytes: Uint8Array, begin: number, host: PickleHost): Unpickled {
  return new Unpickler(bytes, begin, host).run();
}

class Unpickler {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #host: PickleHost;
  readonly #memo = new Map<number, PickleValue>();
  readonly #marks: number[] = [];
  readonly #stack: PickleValue[] = [];
  #at: number;
  #made = 0;

  constructor(bytes: Uint8Array, begin: number, host: PickleHost) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = begin;
    this.#host = host;
  }

  run(): Unpickled {
    for (;;) {
      const code = this.uint(1);
      if (code === STOP) return { value: this.pop(), end: this.#at };
      const step = STEPS.get(code);
      if (!step) {
        const shown = code > 0x20 && code < 0x7f ? `"${String.fromCharCode(code)}"` : `0x${code.toString(16)}`;
        throw this.fail(`it is no pickle that this library reads (instruction ${shown} at byte ${this.#at - 1})`);
      }
      step(this);
    }
  }

  fail(what: string): Error {
    return new this.#host.fail(`${this.#host.label}: ${what}`);
  }

  // ---- bytes

  /** Goes on by `count` bytes; returns where they begin. */
  #advance(count: number): number {
    if (count > this.#bytes.length - this.#at) {
      throw this.fail(
        `cut short: its pickle goes on for ${count} bytes at byte ${this.#at}, the file ends after ${
          this.#bytes.length - this.#at
        }`,
      );
    }
    this.#at += count;
    return this.#at - count;
  }

  take(count: number): Uint8Array {
    const at = this.#advance(count);
    return this.#bytes.subarray(at, this.#at);
  }

  /** An unsigned little-endian number of 1, 2, 4 or 8 bytes. */
  uint(size: 1 | 2 | 4 | 8): number {
    // No slice for each number: a pickle is mostly such.
    const at = this.#advance(size);
    switch (size) {
      case 1:
        return this.#view.getUint8(at);
      case 2:
        return this.#view.getUint16(at, true);
      case 4:
        return this.#view.getUint32(at, true);
      case 8:
        return Number(this.#view.getBigUint64(at, true));
    }
  }

  int32(): number {
    return this.uint(4) | 0;
  }

  float64(): number {
    const at = this.#advance(8);
    return this.#view.getFloat64(at, false);
  }

  /** A two's complement number of `size` bytes. */
  long(size: number): number | bigint {
    if (size > MAX_INTEGER_BYTES) throw this.fail(`it has a number of ${size} bytes`);
    let value = 0n;
    this.take(size).forEach((byte, i) => value |= BigInt(byte) << BigInt(8 * i));
    value = BigInt.asIntN(8 * size, value);
    const small = Number(value);
    return Number.isSafeInteger(small) ? small : value;
  }

  text(length: number): string {
    const bytes = this.take(length);
    try {
      return UTF8.decode(bytes);
    } catch (error) {
      throw new this.#host.fail(`${this.#host.label}: its pickle has a text that is not UTF-8`, { cause: error });
    }
  }

  line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    const text = this.text((end < 0 ? this.#bytes.length + 1 : end) - this.#at);
    this.#at++;
    return text;
  }

  // ---- the stack

  push(value: PickleValue): void {
    this.#stack.push(value);
  }

  pop(): PickleValue {
    // Values below a mark are out of reach until the mark is gone.
    const floor = this.#marks.at(-1) ?? 0;
    const value = this.#stack.length > floor ? this.#stack.pop() : undefined;
    if (value === undefined) throw this.fail("its pickle takes a value where there is none");
    return value;
  }

  top(): PickleValue {
    const value = this.pop();
    this.push(value);
    return value;
  }

  mark(): void {
    if (this.#marks.length >= MAX_DEPTH) throw this.tooDeep();
    this.#marks.push(this.#stack.length);
  }

  /** Takes all values above the last mark, and the mark. */
  popToMark(): PickleValue[] {
    const mark = this.#marks.pop();
    if (mark === undefined) throw this.fail("its pickle looks for a mark where there is none");
    return this.#stack.splice(mark);
  }

  remember(index: number): void {
    this.#memo.set(index, this.top());
  }

  memoize(): void {
    this.remember(this.#memo.size);
  }

  recall(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) throw this.fail(`its pickle asks for value ${index} of its memory, which it never stored`);
    this.push(value);
  }

  // ---- values

  count(): void {
    if (++this.#made > MAX_MADE) {
      throw this.fail(`it has more than ${MAX_MADE} containers: no checkpoint needs so many`);
    }
  }

  tooDeep(): Error {
    return this.fail(`it nests more than ${MAX_DEPTH} deep: no checkpoint does`);
  }

  /** A sequence of `items`. */
  sequence(items: PickleValue[]): PickleSequence {
    this.count();
    const made = new PickleSequence();
    this.append(made, items);
    return made;
  }

  append(target: PickleValue, items: readonly PickleValue[]): void {
    if (!(target instanceof PickleSequence)) throw this.fail("its pickle appends to what is no list");
    for (const item of items) {
      this.#deepen(target, item);
      target.items.push(item);
    }
  }

  setItems(target: PickleValue, items: readonly PickleValue[]): void {
    if (!(target instanceof PickleDict)) throw this.fail("its pickle sets items of what is no dictionary");
    if (items.length % 2 !== 0) throw this.fail("its pickle has a key without a value");
    for (let i = 0; i < items.length; i += 2) {
      const given = items[i], value = items[i + 1];
      // Python 3 keeps the keys of what Python 2 wrote as bytes, if told to.
      const key = given instanceof Uint8Array ? latin1(given) : given;
      if (!isKey(key)) throw this.fail("its pickle has a key that is neither text nor number");
      this.#deepen(target, value!);
      target.entries.set(key, value!);
    }
  }

  #deepen(target: PickleSequence | PickleDict, item: PickleValue): void {
    if (!(item instanceof PickleSequence) && !(item instanceof PickleDict)) return;
    target.depth = Math.max(target.depth, item.depth + 1);
    if (target.depth > MAX_DEPTH) throw this.tooDeep();
  }

  dict(): PickleDict {
    this.count();
    return new PickleDict();
  }

  global(module: PickleValue, name: PickleValue): PickleGlobal {
    const full = `${String(module)}.${String(name)}`;
    const found = this.#host.globals.get(full);
    if (found) return found;
    throw this.#forbidden(full);
  }

  #forbidden(name: string): Error {
    const shown = JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name).slice(1, -1);
    return this.fail(
      `expected tensors and plain containers, found a pickle that names ${shown}, which opening the file would run; nothing was run`,
    );
  }

  /** The oldest way to make an object; what this library knows is never made so. */
  instance(module: string, name: string): never {
    throw this.#forbidden(`${module}.${name}`);
  }

  call(): void {
    const args = this.pop(), callable = this.pop();
    if (!(callable instanceof PickleGlobal)) throw this.fail("its pickle calls what can't be called");
    if (!callable.call) throw this.#forbidden(`a call of ${callable.name}`);
    if (!(args instanceof PickleSequence)) throw this.fail(`its pickle calls ${callable.name} without arguments`);
    this.count();
    this.push(callable.call(args.items));
  }

  /** Attributes: an ordered dictionary may have some, which mean nothing here. */
  build(): void {
    const state = this.pop(), target = this.top();
    if (target instanceof PickleDict) return;
    if (target instanceof PickleObject && target.setState(state)) return;
    throw this.fail("its pickle sets attributes of what has none");
  }

  persistent(): void {
    const id = this.pop();
    if (!this.#host.persistent) throw this.fail("its pickle refers to something outside, and there is nothing");
    this.count();
    this.push(this.#host.persistent(id));
  }
}

function isKey(value: PickleValue | undefined): value is PickleKey {
  return value === null || ["string", "number", "bigint", "boolean"].includes(typeof value);
}

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const latin1 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");

type Step = (u: Unpickler) => void;

const STOP = 0x2e;
/** One entry per instruction; names as in Python's `pickletools`. */
const STEPS: ReadonlyMap<number, Step> = new Map<number, Step>([
  [0x80, (u) => void u.uint(1)], // PROTO
  [0x95, (u) => void u.uint(8)], // FRAME
  [0x28, (u) => u.mark()], // MARK
  [0x30, (u) => void u.pop()], // POP
  [0x31, (u) => void u.popToMark()], // POP_MARK
  [0x32, (u) => u.push(u.top())], // DUP
  [0x4e, (u) => u.push(null)], // NONE
  [0x88, (u) => u.push(true)], // NEWTRUE
  [0x89, (u) => u.push(false)], // NEWFALSE
  [0x4a, (u) => u.push(u.int32())], // BININT
  [0x4b, (u) => u.push(u.uint(1))], // BININT1
  [0x4d, (u) => u.push(u.uint(2))], // BININT2
  [0x8a, (u) => u.push(u.long(u.uint(1)))], // LONG1
  [0x8b, (u) => u.push(u.long(u.uint(4)))], // LONG4
  [0x47, (u) => u.push(u.float64())], // BINFLOAT
  [0x55, (u) => u.push(latin1(u.take(u.uint(1))))], // SHORT_BINSTRING (Python 2)
  [0x54, (u) => u.push(latin1(u.take(u.uint(4))))], // BINSTRING (Python 2)
  [0x58, (u) => u.push(u.text(u.uint(4)))], // BINUNICODE
  [0x8c, (u) => u.push(u.text(u.uint(1)))], // SHORT_BINUNICODE
  [0x8d, (u) => u.push(u.text(u.uint(8)))], // BINUNICODE8
  [0x42, (u) => u.push(u.take(u.uint(4)))], // BINBYTES
  [0x43, (u) => u.push(u.take(u.uint(1)))], // SHORT_BINBYTES
  [0x8e, (u) => u.push(u.take(u.uint(8)))], // BINBYTES8
  [0x5d, (u) => u.push(u.sequence([]))], // EMPTY_LIST
  [0x6c, (u) => u.push(u.sequence(u.popToMark()))], // LIST
  [0x61, (u) => appendOne(u)], // APPEND
  [0x65, (u) => appendMarked(u)], // APPENDS
  [0x8f, (u) => u.push(u.sequence([]))], // EMPTY_SET
  [0x90, (u) => appendMarked(u)], // ADDITEMS
  [0x91, (u) => u.push(u.sequence(u.popToMark()))], // FROZENSET
  [0x29, (u) => u.push(u.sequence([]))], // EMPTY_TUPLE
  [0x74, (u) => u.push(u.sequence(u.popToMark()))], // TUPLE
  [0x85, (u) => tuple(u, 1)], // TUPLE1
  [0x86, (u) => tuple(u, 2)], // TUPLE2
  [0x87, (u) => tuple(u, 3)], // TUPLE3
  [0x7d, (u) => u.push(u.dict())], // EMPTY_DICT
  [0x64, (u) => dictOf(u)], // DICT
  [0x73, (u) => setOne(u)], // SETITEM
  [0x75, (u) => setMarked(u)], // SETITEMS
  [0x68, (u) => u.recall(u.uint(1))], // BINGET
  [0x6a, (u) => u.recall(u.uint(4))], // LONG_BINGET
  [0x71, (u) => u.remember(u.uint(1))], // BINPUT
  [0x72, (u) => u.remember(u.uint(4))], // LONG_BINPUT
  [0x94, (u) => u.memoize()], // MEMOIZE
  [0x63, (u) => u.push(u.global(u.line(), u.line()))], // GLOBAL
  [0x69, (u) => u.instance(u.line(), u.line())], // INST
  [0x93, (u) => stackGlobal(u)], // STACK_GLOBAL
  [0x52, (u) => u.call()], // REDUCE
  [0x81, (u) => u.call()], // NEWOBJ
  [0x62, (u) => u.build()], // BUILD
  [0x51, (u) => u.persistent()], // BINPERSID
]);

function appendOne(u: Unpickler): void {
  const item = u.pop();
  u.append(u.top(), [item]);
}

function appendMarked(u: Unpickler): void {
  const items = u.popToMark();
  u.append(u.top(), items);
}

function tuple(u: Unpickler, size: number): void {
  const items = Array.from({ length: size }, () => u.pop()).reverse();
  u.push(u.sequence(items));
}

function dictOf(u: Unpickler): void {
  const items = u.popToMark();
  const made = u.dict();
  u.setItems(made, items);
  u.push(made);
}

function setOne(u: Unpickler): void {
  const value = u.pop(), key = u.pop();
  u.setItems(u.top(), [key, value]);
}

function setMarked(u: Unpickler): void {
  const items = u.popToMark();
  u.setItems(u.top(), items);
}

function stackGlobal(u: Unpickler): void {
  const name = u.pop(), module = u.pop();
  u.push(u.global(module, name));
}
