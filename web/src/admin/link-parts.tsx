/** What the lists of links and of reports have in common. */
import type { ModeratedLink } from "../api/admin-links";
import { Link } from "../ui/link";
import { nameOf } from "./names";

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

/** Somebody by their id; `onAll` shows what else is theirs. */
export function Owner({ id, onAll }: { id: string | null; onAll?: ((id: string) => void) | undefined }) {
  if (!id) return <>somebody without an account</>;
  return (
    <>
      <Link to={`/admin/users/${id}`} class="link">
        <span title={id}>{nameOf(id).value ?? "…"}</span>
      </Link>
      {onAll && (
        <>
          {" · "}
          <button type="button" class="link" onClick={() => onAll(id)}>
            all of theirs
          </button>
        </>
      )}
    </>
  );
}
