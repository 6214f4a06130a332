// Stands behind the name "@std/expect" (deno.json, "imports"): JSR, where the original lives, can't be reached from the
// build machines. npm's `expect` is the API that the original copies.

export { expect } from "expect";
