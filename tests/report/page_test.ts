import { assert, assertEquals, assertMatch } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { formatNumber, jsonScript, markup } from "../../src/report/html.ts";
import { imageFigure, imageSlider } from "../../src/report/image.ts";
import { columns, page, section } from "../../src/report/page.ts";
import { facts, table, tiles } from "../../src/report/table.ts";

const HOSTILE = `</script><script>alert("1")</script>&'`;
const ESCAPED = "&lt;/script&gt;&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;";

describe("html", () => {
  it("escapes texts, keeps markup, joins lists, and leaves out what is undefined", () => {
    const inner = markup`<b>${"<"}</b>`;
    assertEquals(
      markup`<p title="${HOSTILE}">${inner}${[1234.5, undefined, "&"]}</p>`.text,
      `<p title="${ESCAPED}"><b>&lt;</b>1,234&amp;</p>`.replace("1,234", "1,235"),
    );
  });

  it("writes data that no text in it can end", () => {
    const { text } = jsonScript({ name: HOSTILE });
    assertEquals(text.match(/<\/script>/g)?.length, 1);
    assertEquals(JSON.parse(text.replace(/<[^>]*json">|<\/script>$/g, "")), { name: HOSTILE });
  });

  it("writes numbers for people", () => {
    const written = [0, 12, 1234567, 0.123456, -3.5, 12345.678, 1.5e-7, -2e-10, 3e12, NaN, -Infinity].map(formatNumber);
    assertEquals(written, [
      "0",
      "12",
      "1,234,567",
      "0.1235",
      "−3.5",
      "12,345.7",
      "1.5e−7",
      "−2e−10",
      "3e12",
      "not a number",
      "−∞",
    ]);
  });
});

describe("page", () => {
  const png = Uint8Array.of(0x89, 0x50, 0x4e, 0x47);
  const text = page({
    title: HOSTILE,
    intro: HOSTILE,
    content: [
      section(
        HOSTILE,
        columns(imageFigure({ png, alt: HOSTILE, caption: HOSTILE })),
        imageSlider({ alt: HOSTILE, frames: [{ label: "first", png }, { label: HOSTILE, png }] }),
        table({ columns: [HOSTILE, "n"], rows: [[HOSTILE, 1], ["b", "−2 %"]], caption: HOSTILE }),
        facts([[HOSTILE, HOSTILE]]),
        tiles([{ label: HOSTILE, value: HOSTILE, note: HOSTILE }]),
      ),
    ],
  });

  it("escapes every text", () => {
    assert(!text.includes("<script>alert"));
    assertEquals(text.split(ESCAPED).length - 1, 19);
    assertEquals(text.match(/<script/g)?.length, 1);
  });

  it("fetches nothing, and says so to the browser", () => {
    assertMatch(text, /Content-Security-Policy" content="default-src &#39;none&#39;/);
    assertEquals(text.match(/(?:src|href)="(?!data:image\/png;base64,)|url\(|@import|https?:/g), null);
  });

  it("is written for small screens, dark rooms and paper", () => {
    for (const part of ['name="viewport"', "prefers-color-scheme:dark", "@media print"]) {
      assert(text.includes(part), part);
    }
  });

  it("closes what it opens", () => {
    for (const name of ["html", "head", "body", "main", "section", "figure", "table", "div", "dl", "p"]) {
      const count = (pattern: RegExp): number => text.match(pattern)?.length ?? 0;
      assertEquals(count(new RegExp(`<${name}[ >]`, "g")), count(new RegExp(`</${name}>`, "g")), name);
    }
  });
});

describe("imageSlider", () => {
  it("holds all pictures and shows the last", () => {
    const pngs = [Uint8Array.of(1), Uint8Array.of(2), Uint8Array.of(3)];
    const { text } = imageSlider({ alt: "a", frames: pngs.map((png, i) => ({ label: `iteration ${i}`, png })) });
    for (const data of ["AQ==", "Ag==", "Aw=="]) assert(text.includes(`base64,${data}"`));
    assertEquals(text.match(/data-label="[^"]*" hidden/g)?.length, 2);
    assertMatch(text, /max="2" value="2".*<output>iteration 2<\/output>/);
    assert(!/data-label="iteration 2" hidden/.test(text));
  });
});

describe("table", () => {
  it("puts columns of numbers to the right", () => {
    const { text } = table({ columns: ["a", "b"], rows: [["x", 1], [2, undefined]] });
    assertEquals(text.match(/class="n"/g)?.length, 3);
    assert(text.includes('<th scope="col">a</th><th scope="col" class="n">b</th>'));
  });

  it("takes what has a unit or an interval for a number, but no hash", () => {
    const isNumeric = (cell: string): boolean => table({ columns: ["a"], rows: [[cell]] }).text.includes('class="n"');
    const numbers = ["1", "−0.5", "1,234", "1.5e−7", "33.1 s", "33.1\u00a0s", "95 %", "0.71 [0.69, 0.73]", "–", ""];
    assertEquals(numbers.filter((cell) => !isNumeric(cell)), []);
    assertEquals(["57695716ee3c", "5f", "cfdd", "off", "8x8"].filter(isNumeric), []);
  });
});
