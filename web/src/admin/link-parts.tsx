/** What the lists of links and of reports have in common. */
import type { ModeratedLink } from "../api/admin-links";

/** Where a link leads. No link itself: what is reported should not be followed by a slip of the hand. */
export function Target({ link }: { link: ModeratedLink }) {
  const others = new Set(link.rules.flatMap((rule) => rule.ways.map((way) => way.to)));
  others.delete(link.target);
  return (
    <>
      <code>{link.target}</code>
      {[...others].map((target) => (
        <code key={target}>or {target}</code>
      ))}
      {link.title && <span class="muted">{link.title}</span>}
    </>
  );
}
