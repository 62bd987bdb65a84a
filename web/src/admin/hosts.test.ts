import { expect, test } from "vitest";
import { blockedHostOf } from "./hosts";

test("a blocked host takes what leads to it or below it, by whatever way", () => {
  const blocked = ["bad.example", "[2001:db8::1]"].map((host) => ({ host, at: "", by: null, note: "" }));
  const found = (target: string, ...others: string[]) =>
    blockedHostOf({ target, rules: [{ ways: others.map((to) => ({ to })) }] }, blocked);
  expect(found("https://bad.example/x")).toBe("bad.example");
  expect(found("https://www.bad.example./x")).toBe("bad.example");
  expect(found("https://notbad.example/")).toBeNull();
  expect(found("https://good.example/?to=bad.example")).toBeNull();
  expect(found("https://good.example/", "https://a.example/", "http://bad.example:8080/")).toBe(
    "bad.example",
  );
  expect(found("http://[2001:db8::1]/")).toBe("[2001:db8::1]");
  expect(found("no address")).toBeNull();
});
