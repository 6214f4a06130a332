/** What the restricted unpickler makes: numbers, texts, bytes, plain containers, and objects of the few callables that its user knows. */

/** A list, a tuple or a set. */
export class PickleSequence {
  readonly items: PickleValue[];
  /** Containers inside one another, this one included. */
  depth = 1;

  constructor(items: PickleValue[] = []) {
    this.items = items;
  }
}

/** What may be the key of a dictionary. */
export type PickleKey = string | number | bigint | boolean | null;

/** A dictionary; its order is the pickle's. */
export class PickleDict {
  readonly entries: Map<PickleKey, PickleValue> = new Map();
  /** See {@linkcode PickleSequence.depth}. */
  depth = 1;
}

/** Something that a pickle names by module and name. */
export class PickleGlobal {
  /** `module.name`. */
  readonly name: string;
  /** Makes a value of the arguments; absent: it may be named, but not called. */
  readonly call: ((args: readonly PickleValue[]) => PickleValue) | undefined;

  constructor(name: string, call?: (args: readonly PickleValue[]) => PickleValue) {
    this.name = name;
    this.call = call;
  }
}

/** Base of what callables make. */
export abstract class PickleObject {
  /** Takes the state that a pickle gives an object after it was made; `false`: it has none. */
  setState(_: PickleValue): boolean {
    return false;
  }
}

/** Any value of a pickle. */
export type PickleValue =
  | PickleKey
  | Uint8Array
  | PickleSequence
  | PickleDict
  | PickleGlobal
  | PickleObject;
