import { describe, it } from "@std/testing/bdd";
import { assertEquals } from "@std/assert";
import { nearestName } from "../../src/coopflow/nearest.ts";

describe("nearestName", () => {
  it("finds the name with the fewest edits", () => {
    assertEquals(nearestName("stepsize", ["steps", "stepSize", "sampleStepSize"]), "stepSize");
    assertEquals(nearestName("betta", ["lr", "betas", "eps"]), "betas");
    assertEquals(nearestName("x", []), undefined);
  });
});
