import { notice } from "../state/venue";

/** The line that an administrator has written for everybody. */
export function Notice() {
  if (!notice.value) return null;
  return (
    <p class="notice" role="status">
      {notice.value}
    </p>
  );
}
