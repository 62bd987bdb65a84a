import { useEffect } from "preact/hooks";
import { api } from "../api/http";
import { useLoaded } from "../state/asking";

/** How often the line is asked for. */
const LOOK_EVERY_MS = 60_000;

/** A line that an administrator has written for everybody; mostly there is none. */
export function Notice() {
  const notice = useLoaded(api.notice);
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) void notice.reload();
    }, LOOK_EVERY_MS);
    return () => clearInterval(timer);
  }, []);
  const text = notice.data.value?.notice;
  if (!text) return null;
  return (
    <p class="notice" role="status">
      {text}
    </p>
  );
}
