/** ONNX models for tests. */

// Protobuf by hand, as far as this model needs it.

type Field = readonly [number: number, value: number | string | Uint8Array];

function message(...fields: readonly Field[]): Uint8Array<ArrayBuffer> {
  const bytes: number[] = [];
  const varint = (n: number): void => {
    for (; n > 127; n = Math.floor(n / 128)) bytes.push(n % 128 + 128);
    bytes.push(n);
  };
  for (const [number, value] of fields) {
    if (typeof value === "number") {
      varint(number * 8);
      varint(value);
    } else {
      const content = typeof value === "string" ? new TextEncoder().encode(value) : value;
      varint(number * 8 + 2);
      varint(content.length);
      bytes.push(...content);
    }
  }
  return Uint8Array.from(bytes);
}

const FLOAT = 1;

function port(name: string, dims: readonly (number | string)[]): Uint8Array {
  const shape = message(...dims.map((d): Field => [1, message(typeof d === "number" ? [1, d] : [2, d])]));
  return message([1, name], [2, message([1, message([1, FLOAT], [2, shape])])]);
}

/** The bytes of a model that gives the mean of each channel over the image. */
export function means(input: readonly (number | string)[]): Uint8Array<ArrayBuffer> {
  const graph = message(
    [1, message([1, "x"], [2, "pooled"], [4, "GlobalAveragePool"])],
    [2, "means"],
    [11, port("x", input)],
    [12, port("pooled", ["n", 3, 1, 1])],
  );
  return message([1, 8], [7, graph], [8, message([1, ""], [2, 13])]);
}
