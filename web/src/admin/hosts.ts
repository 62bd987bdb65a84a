/** Which links a blocked host takes with it, as the server decides it: the host itself and all names below it. */
import type { BlockedHost, ModeratedLink } from "../api/admin-links";

function hostOf(target: string): string {
  try {
    return new URL(target).hostname.replace(/\.$/, "");
  } catch {
    return "";
  }
}

/** The blocked host that a link leads to, by its target or one of its rules; null when there is none. */
export function blockedHostOf(
  link: Pick<ModeratedLink, "target" | "rules">,
  blocked: readonly BlockedHost[],
): string | null {
  const targets = [link.target, ...link.rules.flatMap((rule) => rule.ways.map((way) => way.to))];
  for (const host of targets.map(hostOf)) {
    const found = blocked.find((one) => host === one.host || host.endsWith(`.${one.host}`));
    if (found) return found.host;
  }
  return null;
}
