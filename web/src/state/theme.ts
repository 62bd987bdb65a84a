import { effect, signal } from "@preact/signals";

export type Theme = "dark" | "light";

/** `public/theme.js` has set the attribute before the first paint. */
export const theme = signal<Theme>(document.documentElement.dataset.theme === "light" ? "light" : "dark");

export function toggleTheme(): void {
  theme.value = theme.value === "dark" ? "light" : "dark";
}

effect(() => {
  document.documentElement.dataset.theme = theme.value;
  const background = getComputedStyle(document.documentElement).getPropertyValue("--bg").trim();
  document.querySelector('meta[name="theme-color"]')?.setAttribute("content", background || "#0a0d13");
  try {
    // Plain text, since theme.js reads it without a parser.
    localStorage.setItem("agora.theme", theme.value);
  } catch {
    // Without storage the choice lasts as long as the page.
  }
});
