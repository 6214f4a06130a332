import { assert, assertAlmostEquals, assertEquals, assertGreater, assertLess, assertMatch } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { histogram } from "../../src/report/histogram.ts";
import { lineChart } from "../../src/report/line_chart.ts";
import { scaleOf } from "../../src/report/scale.ts";

interface Data {
  readonly from: number;
  readonly to: number;
  readonly log: boolean;
  readonly series: readonly { readonly name: string; readonly x: number[]; readonly y: (number | null)[] }[];
}

/** What the chart tells its script. */
function dataOf(markup: string): Data {
  const text = /<script type="application\/json">(.*)<\/script>/.exec(markup)?.[1];
  assert(text !== undefined);
  return JSON.parse(text);
}

describe("scaleOf", () => {
  it("names round values between its ends", () => {
    const scale = scaleOf(0, 850, false, false, 6);
    assertEquals(scale.ticks.map(({ text }) => text), ["0", "200", "400", "600", "800"]);
    assertAlmostEquals(scale.ticks[4]?.position ?? NaN, 800 / 850, 1e-12);
  });

  it("is logarithmic on request: powers of ten, with their parts where there are few", () => {
    const texts = (low: number, high: number): string[] =>
      scaleOf(low, high, true, false, 5).ticks.map(({ text }) => text);
    assertEquals(texts(0.01, 1000), ["0.01", "0.1", "1", "10", "100", "1,000"]);
    assertEquals(texts(1, 20), ["1", "2", "5", "10", "20"]);
    assertEquals(texts(2, 4), ["2", "2.5", "3", "3.5", "4"]);
    assertAlmostEquals(scaleOf(1, 100, true, false, 5).position(10), 0.5, 1e-12);
  });

  it("has ends apart where there is one value, and a few ticks for any range", () => {
    for (const value of [0, 1, -5, 1e-12, 1e12]) {
      const { from, to } = scaleOf(value, value, false, true, 5);
      assertLess(from, value);
      assertGreater(to, value);
    }
    for (const log of [false, true]) {
      for (let power = -9; power < 9; power++) {
        for (const ratio of [1.001, 1.7, 30, 1e4, 1e9]) {
          const { length } = scaleOf(10 ** power, 10 ** power * ratio, log, true, 5).ticks;
          assert(length >= 2 && length <= 10, `${log} ${power} ${ratio}: ${length}`);
        }
      }
    }
  });
});

describe("lineChart", () => {
  const chart = (y: ArrayLike<number>, log = false): string =>
    lineChart({
      title: "<t>",
      x: { label: "iteration" },
      y: { label: "loss", log },
      series: [{ name: "<flow>", x: Array.from(y, (_, i) => i), y }],
    }).text;

  it("draws the points where they are", () => {
    const markup = chart([0, 1, 0.5]);
    // 4 % of the axis are left free at both ends.
    assertMatch(markup, /class="line" d="M0 963L500 37L1000 500"/);
    assertEquals(dataOf(markup).series, [{ name: "<flow>", x: [0, 1, 2], y: [0, 1, 0.5] }]);
    assert(markup.includes("&lt;flow&gt; <span>0.5</span>"));
    assert(!markup.includes("<flow>"));
  });

  it("is interrupted by values that are not finite, and shows a lone point", () => {
    assertMatch(chart([1, 2, NaN, 3, Infinity, 1, 2]), /d="M[^ML]*L[^ML]*M[^ML]*h0M[^ML]*L[^ML]*"/);
    assertEquals(dataOf(chart([1, NaN])).series[0]?.y, [1, null]);
  });

  it("leaves out what a logarithmic axis can't show", () => {
    const markup = chart([10, 0, -1, 1000], true);
    assertEquals(dataOf(markup).series[0]?.y, [10, null, null, 1000]);
    assert(!markup.includes("NaN"));
  });

  it("draws many points as means over a band from least to greatest, in bounded size", () => {
    const many = Float64Array.from({ length: 100_000 }, (_, i) => i % 2);
    const markup = chart(many);
    assertLess(markup.length, 30_000);
    const [series] = dataOf(markup).series;
    assert(series !== undefined && series.y.every((value) => value !== null && Math.abs(value - 0.5) < 0.01));
    assertMatch(markup, /class="band" d="M[^Z]+Z"/);
    assert(!chart([1, 2, 3]).includes('class="band"'));
  });

  it("can be empty", () => {
    assert(!chart([]).includes("NaN"));
    assert(!chart([NaN, NaN]).includes('d="M'.concat("NaN")));
  });
});

describe("histogram", () => {
  it("shows shares of each set over common bins, the greatest value included", () => {
    const { text: markup } = histogram({
      title: "t",
      label: "energy",
      bins: 4,
      series: [{ name: "a", values: [0, 1, 2, 4, NaN] }, { name: "b", values: [4, 4] }],
    });
    const [a, b] = dataOf(markup).series;
    assertEquals(a, { name: "a", x: [0.5, 1.5, 2.5, 3.5], y: [0.25, 0.25, 0.25, 0.25] });
    assertEquals(b?.y, [0, 0, 0, 1]);
    assert(markup.includes("<span>4 values</span>") && markup.includes("<span>2 values</span>"));
  });

  it("can be of one value, or none", () => {
    for (const values of [[7], [3, 3], []]) {
      assert(!histogram({ title: "t", label: "x", series: [{ name: "a", values }] }).text.includes("NaN"));
    }
  });
});
