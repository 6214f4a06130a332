/** The script of a page: values under the pointer, and sliders. Charts and the last picture of each slider are there without it. */
export const SCRIPT = `
"use strict";
for (const chart of document.querySelectorAll(".chart")) {
  const data = JSON.parse(chart.querySelector("script").textContent);
  const [area, cursor, tip] = [".area", ".cursor", ".tip"].map((name) => chart.querySelector(name));
  const warp = (value) => data.log ? Math.log10(value) : value;
  const [from, to] = [warp(data.from), warp(data.to)];
  const place = (value) => (warp(value) - from) / (to - from);
  const nearest = (xs, share) => {
    let [low, high] = [0, xs.length - 1];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (place(xs[middle]) < share) low = middle; else high = middle;
    }
    return Math.abs(place(xs[low]) - share) <= Math.abs(place(xs[high]) - share) ? low : high;
  };
  const show = (event) => {
    const box = area.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    tip.replaceChildren();
    let best;
    data.series.forEach(({ name, x, y }, i) => {
      if (x.length === 0) return;
      const at = nearest(x, share);
      if (best === undefined || Math.abs(place(x[at]) - share) < Math.abs(place(best) - share)) best = x[at];
      const row = document.createElement("div");
      row.className = "c" + i % 8;
      const value = document.createElement("b");
      value.textContent = y[at] === null ? "–" : y[at].toLocaleString("en-US", { maximumSignificantDigits: 5 });
      row.append(value, document.createElement("i"), name);
      tip.append(row);
    });
    if (best === undefined) return;
    const head = document.createElement("div");
    head.textContent = data.label + " " + best.toLocaleString("en-US", { maximumSignificantDigits: 6 });
    tip.prepend(head);
    cursor.hidden = tip.hidden = false;
    const left = place(best) * box.width;
    cursor.style.left = left + "px";
    tip.style.left = Math.max(0, Math.min(left + 12, box.width - tip.offsetWidth)) + "px";
    if (left + 12 + tip.offsetWidth > box.width && left - 12 - tip.offsetWidth >= 0) tip.style.left = left - 12 - tip.offsetWidth + "px";
  };
  const hide = () => { cursor.hidden = tip.hidden = true; };
  area.addEventListener("pointermove", show);
  area.addEventListener("pointerdown", show);
  area.addEventListener("pointerleave", hide);
}
for (const slider of document.querySelectorAll(".slider")) {
  const pictures = [...slider.querySelectorAll("[data-label]")];
  const input = slider.querySelector("input");
  input.addEventListener("input", () => {
    pictures.forEach((picture, i) => { picture.hidden = i !== Number(input.value); });
    slider.querySelector("output").textContent = pictures[Number(input.value)].dataset.label;
  });
}
`;
