/**
 * Groups the live nodes of each block into items: element-wise neighbours become one map, a map in front of a reduction joins it, and a map
 * behind a product or convolution becomes its epilogue. Groups stay convex: nothing outside a group lies between its members.
 */
import { biasedBy } from "../graph/bias.ts";
import type { Graph, Node, Region, Value } from "../graph/graph.ts";
import { isDense, numel, sameShape } from "../graph/shape.ts";
import { type Cluster, type Item, type MapNode, type Pool, readsOf, resolve, rootOf } from "./items.ts";
import { MAX_MAP_INPUTS, MAX_MAP_OUTPUTS } from "./opcodes.ts";

/** Which groupings to make. */
export interface FuseOptions {
  readonly maps: boolean;
  readonly epilogues: boolean;
}

interface Uses {
  /** Nodes of the same block that read the value. */
  readonly readers: Map<Value, Set<Node>>;
  /** Values that results or enclosing repeats need. */
  readonly needed: Set<Value>;
}

/** Marks what the wanted values depend on, in this block. Values of outer blocks are left to those. */
function liveNodes(nodes: readonly Node[], wanted: readonly Value[]): { live: Node[]; uses: Uses } {
  const here = new Set(nodes);
  const live = new Set<Node>();
  const readers = new Map<Value, Set<Node>>();
  const needed = new Set(wanted.map(resolve));
  const stack = [...needed].map((v) => v.node);
  while (stack.length > 0) {
    const node = stack.pop()!;
    if (!here.has(node) || live.has(node)) continue;
    live.add(node);
    for (const v of readsOf(node)) {
      let set = readers.get(v);
      if (!set) readers.set(v, set = new Set());
      set.add(node);
      stack.push(v.node);
    }
  }
  return { live: nodes.filter((n) => live.has(n)), uses: { readers, needed } };
}

const MAX_DISTANCE = 400;
const MAX_VISITS = 600;

class Block {
  readonly #live: readonly Node[];
  readonly #uses: Uses;
  readonly #position = new Map<Node, number>();
  readonly #cluster = new Map<Node, Set<MapNode>>();

  constructor(live: readonly Node[], uses: Uses, fuse: boolean) {
    this.#live = live;
    this.#uses = uses;
    live.forEach((n, i) => this.#position.set(n, i));
    for (const n of live) if (n.op === "map") this.#cluster.set(n, new Set([n]));
    if (fuse) { for (const n of live) if (n.op === "map" && n.inputs.length > 0) this.#join(n); }
  }

  /** Tries to merge the node's group with those of its producers, then of maps that read the same operands. */
  #join(node: MapNode): void {
    const at = this.#position.get(node)!;
    const near = (other: Node): other is MapNode => {
      const pos = this.#position.get(other);
      return other.op === "map" && other !== node && pos !== undefined && pos < at && at - pos <= MAX_DISTANCE &&
        sameShape(other.attrs.shape, node.attrs.shape) && other.inputs.length > 0;
    };
    const candidates: MapNode[] = [];
    for (const v of node.inputs.map(resolve)) if (near(v.node)) candidates.push(v.node);
    for (const v of node.inputs.map(resolve)) {
      for (const other of this.#uses.readers.get(v) ?? []) {
        if (near(other) && at - this.#position.get(other)! <= MAX_DISTANCE / 4) candidates.push(other);
      }
    }
    for (const other of candidates) {
      const mine = this.#cluster.get(node)!, theirs = this.#cluster.get(other)!;
      if (mine === theirs) continue;
      const merged = new Set([...theirs, ...mine]);
      if (!this.#fits(merged) || !this.#convex(merged)) continue;
      for (const m of merged) this.#cluster.set(m, merged);
    }
  }

  #outputs(group: ReadonlySet<Node>): Value[] {
    const outputs: Value[] = [];
    for (const m of group) {
      const v = m.outputs[0]!;
      const readers = this.#uses.readers.get(v);
      if (this.#uses.needed.has(v) || (readers && [...readers].some((r) => !group.has(r)))) outputs.push(v);
    }
    return outputs;
  }

  #fits(group: ReadonlySet<MapNode>): boolean {
    const inputs = new Set<Value>();
    for (const m of group) for (const v of m.inputs.map(resolve)) if (!group.has(v.node as MapNode)) inputs.add(v);
    return inputs.size <= MAX_MAP_INPUTS && this.#outputs(group).length <= MAX_MAP_OUTPUTS;
  }

  /** No path leaves the group and comes back. Gives up (false) when the search grows long. */
  #convex(group: ReadonlySet<MapNode>): boolean {
    let start = Infinity;
    for (const m of group) start = Math.min(start, this.#position.get(m)!);
    const seen = new Set<Node>();
    const stack: Node[] = [];
    const push = (node: Node): void => {
      for (const v of readsOf(node)) if (!group.has(v.node as MapNode)) stack.push(v.node);
    };
    for (const m of group) push(m);
    while (stack.length > 0) {
      const node = stack.pop()!;
      if (seen.has(node)) continue;
      seen.add(node);
      if (seen.size > MAX_VISITS) return false;
      // A group runs where its last member stands: all of its operands come before that.
      const members = this.#cluster.get(node) ?? [node];
      let last = -1;
      for (const m of members) last = Math.max(last, this.#position.get(m) ?? -1);
      if (last < start) continue;
      for (const m of members) {
        seen.add(m);
        for (const v of readsOf(m)) {
          if (group.has(v.node as MapNode)) return false;
          stack.push(v.node);
        }
      }
    }
    return true;
  }

  /** The single node that reads v, if there is one and nothing else needs v. */
  #soleReader(v: Value): Node | undefined {
    const readers = this.#uses.readers.get(v);
    return readers?.size === 1 && !this.#uses.needed.has(v) ? [...readers][0] : undefined;
  }

  /** The group that may run as the epilogue of `node`: it alone reads the result, directly or through one reshape. */
  #epilogue(node: Node): Set<MapNode> | undefined {
    if (node.op !== "conv" && node.op !== "conv_data_grad" && node.op !== "matmul") return undefined;
    let v = node.outputs[0]!;
    const reader = this.#soleReader(v);
    if (reader?.op === "view" && isDense(reader.attrs.layout) && numel(reader.attrs.layout.shape) === numel(v.shape)) {
      v = reader.outputs[0]!;
    }
    const readers = [...(this.#uses.readers.get(v) ?? [])];
    const [first] = readers;
    if (!first || first.op !== "map" || this.#uses.needed.has(v)) return undefined;
    const group = this.#cluster.get(first)!;
    return readers.every((r) => group.has(r as MapNode)) ? group : undefined;
  }

  /** Takes what adds a bias to the node's result out of a group that is another node's epilogue: each then adds its own as it goes. */
  #detachBias(node: Node, group: Set<MapNode>): Set<MapNode> | undefined {
    const result = node.outputs[0]!, reader = this.#soleReader(result);
    if (reader?.op !== "map" || group.size < 2 || biasedBy(reader) !== result) return undefined;
    group.delete(reader);
    const own = new Set([reader]);
    this.#cluster.set(reader, own);
    return own;
  }

  /** The 2×2 pooling that alone reads v, an image. */
  #pool(v: Value): Pool | undefined {
    const view = this.#soleReader(v);
    if (view?.op !== "view" || v.shape.length !== 4 || !isDense(view.attrs.layout)) return undefined;
    const node = this.#soleReader(view.outputs[0]!);
    if (node?.op !== "reduce" || node.attrs.kind !== "sum" || node.attrs.axes.join() !== "2,4") return undefined;
    const [n, h, w, c] = v.shape as [number, number, number, number];
    return sameShape(view.attrs.layout.shape, [n, h / 2, 2, w / 2, 2, c]) ? { from: v, node } : undefined;
  }

  items(options: FuseOptions): Item[] {
    const epilogueOf = new Map<Set<MapNode>, Node>();
    const absorbed = new Map<Node, Set<MapNode>>();
    if (options.epilogues) {
      for (const node of this.#live) {
        const group = this.#epilogue(node);
        if (!group) continue;
        const own = epilogueOf.has(group) ? this.#detachBias(node, group) : group;
        if (!own) continue;
        epilogueOf.set(own, node);
        absorbed.set(node, own);
      }
    }
    const prologueOf = new Map<Node, Set<MapNode>>();
    for (const node of this.#live) {
      if (node.op !== "reduce" || !options.maps) continue;
      const v = resolve(node.inputs[0]!);
      const group = v.node.op === "map" ? this.#cluster.get(v.node) : undefined;
      if (!group || epilogueOf.has(group) || this.#soleReader(v) !== node) continue;
      if (this.#outputs(group).length === 1 && v.node.inputs.length > 0) prologueOf.set(node, group);
    }
    const joined = new Set<Set<MapNode>>(prologueOf.values());
    const made = new Map<Set<MapNode>, Cluster>();
    const clusterOf = (group: Set<MapNode>): Cluster => {
      let c = made.get(group);
      if (!c) {
        const nodes = [...group].sort((a, b) => this.#position.get(a)! - this.#position.get(b)!);
        made.set(group, c = { nodes, outputs: this.#outputs(group) });
      }
      return c;
    };
    const items: Item[] = [];
    const done = new Set<unknown>();
    // Depth first from each node in order: operands, then the item itself at the place of its last member.
    const emit = (node: Node): void => {
      if (!this.#position.has(node)) return;
      const group = node.op === "map" ? this.#cluster.get(node)! : absorbed.get(node) ?? prologueOf.get(node);
      const owner = group && !joined.has(group) ? group : undefined;
      const key = owner ?? node;
      if (done.has(key)) return;
      done.add(key);
      const members: Node[] = [
        ...(group ?? []),
        ...(group && epilogueOf.has(group) ? [epilogueOf.get(group)!] : []),
        ...(node.op === "map" ? [] : [node]),
      ];
      for (const m of members) for (const v of readsOf(m)) if (!members.includes(v.node)) emit(v.node);
      if (node.op === "reduce") items.push({ kind: "reduce", node, prologue: group ? clusterOf(group) : undefined });
      else if (group && epilogueOf.has(group)) {
        const epilogue = clusterOf(group), owner = epilogueOf.get(group)!;
        const pools = owner.op === "matmul" ? [] : epilogue.outputs.flatMap((v) => this.#pool(v) ?? []);
        for (const { node } of pools) done.add(node);
        items.push({ kind: "node", node: owner, epilogue, pools });
      } else if (group) items.push({ kind: "map", cluster: clusterOf(group) });
      else if (node.op === "repeat") items.push({ kind: "repeat", node, body: fuseBlock(node.attrs.region, options) });
      else items.push({ kind: "node", node, epilogue: undefined });
    };
    const lastOf = (node: Node): number => {
      let last = this.#position.get(node) ?? -1;
      for (const m of this.#cluster.get(node) ?? []) last = Math.max(last, this.#position.get(m)!);
      return last;
    };
    // Weight and bias gradients run as soon as their operands are there, although the maps that they feed stand at the end of the backward pass:
    // waiting for those, they would keep every layer's activations and their gradients.
    const placeOf = (node: Node): number => {
      const group = absorbed.get(node) ?? (node.op === "reduce" ? prologueOf.get(node) : undefined);
      if (!group && node.op !== "reduce") return lastOf(node);
      const members: readonly Node[] = [node, ...(group ?? [])];
      const operands = members.flatMap((m) => m.inputs.map((v) => rootOf(v).node)).filter((n) => !members.includes(n));
      const own = node.op === "reduce" ? [] : [this.#position.get(node)!];
      return Math.max(-1, ...own, ...operands.map(lastOf));
    };
    const order = this.#live.filter((n) => !(n.op === "map" && joined.has(this.#cluster.get(n)!)));
    const place = new Map(order.map((n) => [n, placeOf(n)]));
    for (const node of order.sort((a, b) => place.get(a)! - place.get(b)!)) emit(node);
    return items;
  }
}

function fuseBlock(region: Region, options: FuseOptions): Item[] {
  const { live, uses } = liveNodes(region.nodes, region.results);
  return new Block(live, uses, options.maps).items(options);
}

/** Items of a graph in an order that respects every dependency. Views, leaves and stopped gradients come as plain nodes. */
export function fuse(g: Graph, options: FuseOptions): Item[] {
  const { live, uses } = liveNodes(g.nodes, g.results.map((r) => r.value));
  return new Block(live, uses, options.maps).items(options);
}
