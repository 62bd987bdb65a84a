import { Link } from "../ui/link";
import { nameOf } from "./names";

/** Somebody by their id; `onAll` shows what else is theirs. */
export function Owner({ id, onAll }: { id: string | null; onAll?: ((id: string) => void) | undefined }) {
  if (!id) return <>somebody without an account</>;
  return (
    <>
      <Link to={`/admin/users/${encodeURIComponent(id)}`} class="link">
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
