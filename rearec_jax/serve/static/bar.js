/** A bar whose length is a share of its cell. */

import { svg } from "./dom.js";

export function bar(share, kind = "") {
  const width = 100 * Math.max(0, Math.min(1, share));
  return svg(
    "svg",
    { class: `bar ${kind}`, viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: "ground", width: 100, height: 4 }),
    svg("rect", { class: "fill", width, height: 4 }),
  );
}
