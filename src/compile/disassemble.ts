/** Text of an encoded program, from the bytes alone: what will run, where everything lies. */
import { arenaBytesOf, HEADER_WORDS, MAGIC } from "./encode.ts";
import { OPCODES } from "./opcodes.ts";

const KINDS = ["state", "feed", "fetch", "constant", "arena"];
const OP_NAMES = new Map<number, string>(Object.entries(OPCODES).map(([name, code]) => [code, name]));

interface TensorText {
  readonly buffer: number;
  readonly text: string;
}

/** One line per buffer and instruction. Throws RangeError on bytes that are not a program. */
export function disassemble(bytes: Uint8Array): string {
  const words = new Uint32Array(bytes.slice(0, Math.floor(bytes.length / 4) * 4).buffer);
  if (words[0] !== MAGIC) {
    throw new RangeError(`disassemble: expected a program, found magic 0x${(words[0] ?? 0).toString(16)}`);
  }
  const [names, buffers, tensors, instrs, codeWords, commit] = words.subarray(7, 13) as unknown as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  let at = HEADER_WORDS;
  const section = (length: number): void => {
    at = Math.ceil((at + length) / 16) * 16;
  };
  const texts: string[] = [];
  let byte = (at + names) * 4;
  for (let i = 0; i < names; i++) {
    const length = words[at + i]!;
    texts.push(new TextDecoder().decode(bytes.subarray(byte, byte + length)));
    byte += length;
  }
  section(Math.ceil(byte / 4) - at);
  const out = [`arena ${arenaBytesOf(bytes)} bytes, constants ${words[15]} bytes, commit at ${commit}`];
  const bufferText: string[] = [];
  let p = at;
  for (let i = 0; i < buffers; i++) {
    const [kind, , offset, , size, high, name, rank] = words.subarray(p, p + 8) as unknown as number[];
    const label = name! > 0 ? ` "${texts[name! - 1]}"` : kind! >= 3 ? ` @${offset}` : "";
    bufferText.push(`${KINDS[kind!]}${label}`);
    out.push(`b${i} = ${bufferText[i]} ${size! + high! * 2 ** 32} bytes`);
    p += 8 + rank!;
  }
  section(p - at);
  const windows: TensorText[] = [];
  for (let i = 0; i < tensors; i++) {
    const t = words.subarray(at + i * 20, at + (i + 1) * 20);
    const rank = t[2]!;
    const dims = [...t.subarray(5, 5 + rank)],
      strides = [...t.subarray(11, 11 + rank)],
      loops = [...t.subarray(17, 20)];
    const moving = loops.some((s) => s > 0) ? ` loop[${loops}]` : "";
    windows.push({ buffer: t[0]!, text: `b${t[0]}+${t[3]}[${dims.join("x")}; ${strides}]${moving}` });
  }
  section(tensors * 20);
  const end = at + codeWords;
  const bodies: number[] = [];
  for (let i = 0; i < instrs && at < end; i++) {
    while (bodies.length > 0 && bodies[bodies.length - 1]! <= i) bodies.pop();
    const [op, total, name, ins, outs, attrs] = words.subarray(at, at + 6) as unknown as [
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    const ids = [...words.subarray(at + 6, at + 6 + ins + outs)].map((id) => windows[id]!.text);
    const list = [...words.subarray(at + 6 + ins + outs, at + 6 + ins + outs + attrs)];
    const layer = texts[name] ? ` # ${texts[name]}` : "";
    out.push(
      `${"  ".repeat(bodies.length)}${i}: ${ids.slice(ins).join(", ")} = ${OP_NAMES.get(op)}(${
        ids.slice(0, ins).join(", ")
      }) {${list}}${layer}`,
    );
    if (OP_NAMES.get(op) === "repeat") bodies.push(i + 1 + list[2]!);
    at += total;
  }
  return out.join("\n");
}
