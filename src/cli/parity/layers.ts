/** The coupling network layer by layer, and the rearrangements. */
import { broadcast, concat, feed, map, neg, reshape, slice, sub, transpose } from "../../graph/build.ts";
import { E } from "../../graph/expr.ts";
import { Graph, type Value } from "../../graph/graph.ts";
import { CouplingNetwork } from "../../flow/mixture_coupling.ts";
import { splitChannels, splitCheckerboard, squeeze } from "../../flow/reshapes.ts";
import { concatElu } from "../../nn/activations.ts";
import { GatedAttention } from "../../nn/attention.ts";
import { ConvAttnBlock } from "../../nn/conv_attn_block.ts";
import { GatedConv } from "../../nn/gated_conv.ts";
import type { Check } from "./compare.ts";
import { type Execute, fetched } from "./execute.ts";
import type { Golden } from "./golden.ts";
import { checkLayer, CONTEXT, toNchw, toNhwc } from "./layer.ts";
import { TOLERANCES } from "./tolerances.ts";

const ATTENTION = { dropout: 0, attention: true } as const;

/** `reshapes`: checkerboard, squeeze, channelwise (of [x, −x]), concat-ELU (of x − 70). */
export async function reshapes(golden: Golden, execute: Execute): Promise<Check[]> {
  const g = new Graph();
  const { shape, data } = golden.tensor("x");
  const x = toNhwc(feed(g, "x", shape));
  const checkerboard = splitCheckerboard(x);
  const results: Record<string, Value> = {
    "checkerboard.first": checkerboard.first,
    "checkerboard.second": checkerboard.second,
    squeeze: squeeze(x),
    "channelwise.first": splitChannels(concat([x, neg(x)], -1)).first,
    concat_elu: concatElu(sub(x, 70)),
  };
  for (const [name, value] of Object.entries(results)) g.fetch(name, toNchw(value));
  const run = await execute(g, { x: data }, {});
  return Object.keys(results).map((name) => ({
    name,
    found: fetched(run, name),
    expected: golden.tensor(name).data,
    tolerance: TOLERANCES.output,
  }));
}

/** `gated_conv`, `gated_conv_aux`. */
export function gatedConv(golden: Golden, execute: Execute): Promise<Check[]> {
  const channels = golden.tensor("in.x").shape[1]!;
  const auxChannels = golden.has("in.aux") ? golden.tensor("in.aux").shape[1]! : undefined;
  return checkLayer(golden, execute, (params, input) => {
    const layer = new GatedConv(params, channels, {
      dropout: 0,
      ...(auxChannels === undefined ? {} : { auxChannels }),
    });
    const aux = auxChannels === undefined ? undefined : toNhwc(input("aux"));
    return { out: toNchw(layer.forward(CONTEXT, toNhwc(input("x")), aux)) };
  });
}

/** `gated_attention`, whose tensors are [N,H,W,C]. */
export function gatedAttention(golden: Golden, execute: Execute): Promise<Check[]> {
  return checkLayer(golden, execute, (params, input) => {
    const x = input("x");
    const [n, h, w, c] = x.shape as [number, number, number, number];
    const layer = new GatedAttention(params, c, { dropout: 0 });
    return { out: reshape(layer.forward(CONTEXT, reshape(x, [n, h * w, c])), x.shape) };
  });
}

/** `conv_attn_block`. */
export function convAttnBlock(golden: Golden, execute: Execute): Promise<Check[]> {
  return checkLayer(golden, execute, (params, input) => {
    const x = toNhwc(input("x"));
    return { out: toNchw(new ConvAttnBlock(params, x.shape[3]!, ATTENTION).forward(CONTEXT, x)) };
  });
}

/** `coupling_network`: what the mixture op takes raw, as the reference's network returns it. */
export function couplingNetwork(golden: Golden, execute: Execute): Promise<Check[]> {
  const [components, channels, blocks] = ["components", "channels", "blocks"].map((k) => golden.number(k)) as [
    number,
    number,
    number,
  ];
  return checkLayer(golden, execute, (params, input) => {
    const x = toNhwc(input("x"));
    const [n, h, w, c] = x.shape as [number, number, number, number];
    const network = new CouplingNetwork(params, c, {
      channels,
      blocks,
      outputs: 2 + 3 * components,
      scales: true,
      ...ATTENTION,
    });
    const { raw, rescale } = network.forward(CONTEXT, x);
    const one = (k: number): Value => slice(raw, 3, k * c, (k + 1) * c);
    // [N,H,W,K·C] → [N,K,C,H,W].
    const many = (first: number): Value =>
      transpose(reshape(slice(raw, 3, first * c, (first + components) * c), [n, h, w, components, c]), [0, 3, 4, 1, 2]);
    const gains = broadcast(rescale!, one(0).shape);
    return {
      a: toNchw(map([one(0), gains], (a, r) => E.mul(r, E.tanh(a)))),
      b: toNchw(one(1)),
      pi: many(2),
      mu: many(2 + components),
      s: map([many(2 + 2 * components)], (s) => E.max(s, -7)),
    };
  });
}
