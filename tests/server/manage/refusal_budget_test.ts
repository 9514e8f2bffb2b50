import assert from "node:assert/strict";
import { RefusalBudget } from "../../../src/server/manage/refusal_budget.ts";

Deno.test("RefusalBudget is spent after its burst, and one more is good after each pause", () => {
  const budget = new RefusalBudget({ burst: 3, perMs: 1_000 });
  assert.equal(budget.isSpent("alice", 0), false);
  for (let i = 0; i < 3; i++) budget.spend("alice", 0);
  assert.equal(budget.isSpent("alice", 0), true);
  assert.equal(budget.isSpent("bob", 0), false);
  assert.equal(budget.isSpent("alice", 999), true);
  assert.equal(budget.isSpent("alice", 1_001), false);
  budget.spend("alice", 1_001);
  assert.equal(budget.isSpent("alice", 1_001), true);
  assert.equal(budget.isSpent("alice", 5_000), false);
});

Deno.test("RefusalBudget lets nobody save up more than a burst", () => {
  const budget = new RefusalBudget({ burst: 2, perMs: 10 });
  budget.spend("alice", 0);
  assert.equal(budget.isSpent("alice", 1_000_000), false);
  budget.spend("alice", 1_000_000);
  budget.spend("alice", 1_000_000);
  assert.equal(budget.isSpent("alice", 1_000_000), true);
});
