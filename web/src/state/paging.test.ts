import { expect, test } from "vitest";
import { ApiError, type Page } from "../api/http";
import { firstPages, paged } from "./paging";

/** A server whose answers come when the test says so. */
function server() {
  const asked: { about: string; answer: (page: Page<string>) => void; fail: (error: unknown) => void }[] = [];
  const load = (question: string, after: string | null): Promise<Page<string>> =>
    new Promise((answer, fail) => asked.push({ about: `${question} ${after}`, answer, fail }));
  return { asked, load };
}

test("a page is added once, however often it is asked for", async () => {
  const { asked, load } = server();
  const list = paged(2, load);
  const first = list.ask("x");
  asked[0]?.answer({ items: ["a", "b"], after: "b" });
  await first;
  const more = [list.next(), list.next()];
  expect(asked.map((one) => one.about)).toEqual(["x null", "x b"]);
  asked[1]?.answer({ items: ["c"], after: "c" });
  await Promise.all(more);
  expect(list.data.value).toEqual(["a", "b", "c"]);
  expect(list.more.value).toBe(false);
  await list.next();
  expect(asked.length).toBe(2);
});

test("answers and failures of an earlier question count for nothing", async () => {
  const { asked, load } = server();
  const list = paged(1, load);
  const all = [list.ask("x"), list.ask("y"), list.ask("z")];
  asked[2]?.answer({ items: ["z"], after: "z" });
  asked[1]?.answer({ items: ["y"], after: "y" });
  asked[0]?.fail(new ApiError(503, "away"));
  await Promise.all(all);
  expect([list.data.value, list.error.value, list.busy.value]).toEqual([["z"], null, false]);
});

test("what was known stays beside the reason of a failure, and goes on from there", async () => {
  const { asked, load } = server();
  const list = paged(1, load);
  const first = list.ask("x");
  asked[0]?.answer({ items: ["a"], after: "a" });
  await first;
  const second = list.next();
  asked[1]?.fail(new ApiError(0, "no line"));
  await second;
  expect([list.data.value, list.error.value, list.more.value]).toEqual([["a"], "no line", true]);
  void list.next();
  expect(asked[2]?.about).toBe("x a");
});

test("the first pages are one list, until one is not full", async () => {
  const pages: Record<string, Page<number>> = {
    null: { items: [1, 2], after: "2" },
    2: { items: [3, 4], after: "4" },
    4: { items: [5], after: "5" },
  };
  const load = async (after: string | null) => pages[String(after)] ?? { items: [], after: null };
  expect(await firstPages(1, 2, load)).toEqual({ items: [1, 2], after: "2" });
  expect(await firstPages(9, 2, load)).toEqual({ items: [1, 2, 3, 4, 5], after: null });
});
