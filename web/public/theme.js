// Runs before the first paint, so that a light page is never dark for a moment.
try {
  const theme = localStorage.getItem("agora.theme");
  if (theme === "light") document.documentElement.dataset.theme = "light";
} catch {
  // Storage may be forbidden; then the default theme stays.
}
