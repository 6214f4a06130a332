// Runs an ONNX model in a process of its own, for onnx_features.ts: onnxruntime is 288 MB, which a lock file would have everybody download,
// and it is fetched when it is first asked for. Both directions: frames of a kind, a length and that many bytes; first goes out what the model is.
//
//   deno run -A --no-config --no-lock onnx_process.ts MODEL.onnx

import { readFrame, readFull, writeFrame } from "./frames.ts";

/** The part of onnxruntime that is used. */
interface Runtime {
  readonly InferenceSession: { create(path: string): Promise<Session> };
  readonly Tensor: new (type: "float32", data: Float32Array, dims: readonly number[]) => Tensor;
}
interface Tensor {
  readonly dims: readonly number[];
  readonly data: unknown;
}
interface Session {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly inputMetadata: readonly { readonly type?: string; readonly shape?: readonly (number | string)[] }[];
  run(feeds: Readonly<Record<string, Tensor>>): Promise<Readonly<Record<string, Tensor>>>;
}

const PACKAGE = "npm:onnxruntime-node@1.23.2";

async function serve(path: string): Promise<void> {
  // Not a literal, so that nobody who reads this file's imports fetches it.
  const { InferenceSession, Tensor }: Runtime = await import(PACKAGE);
  const session = await InferenceSession.create(path);
  const [input, output] = [session.inputNames[0]!, session.outputNames[0]!];
  const { type, shape } = session.inputMetadata[0] ?? {};
  const { inputNames } = session;
  writeFrame(Deno.stdout, new TextEncoder().encode(JSON.stringify({ inputNames, type, shape, output })));
  for (;;) {
    const header = readFrame(Deno.stdin);
    if (header === undefined) return;
    const dims: number[] = JSON.parse(new TextDecoder().decode(header));
    const values = new Float32Array(dims.reduce((product, n) => product * n, 1));
    readFull(Deno.stdin, new Uint8Array(values.buffer));
    const result = (await session.run({ [input]: new Tensor("float32", values, dims) }))[output]!;
    if (!(result.data instanceof Float32Array)) throw new Error(`expected float32 results, found another type`);
    writeFrame(Deno.stdout, new TextEncoder().encode(JSON.stringify(result.dims)));
    const bytes = new Uint8Array(result.data.buffer, result.data.byteOffset, result.data.byteLength);
    for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
  }
}

try {
  await serve(Deno.args[0]!);
} catch (error) {
  console.error(error instanceof Error ? error.message.split("\n")[0] : String(error));
  Deno.exit(1);
}
