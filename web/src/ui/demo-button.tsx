import { useSignal } from "@preact/signals";
import { ApiError } from "../api/http";
import { authDialog, startDemo } from "../state/session";
import { notify } from "../state/toasts";

/** Makes a demo account and signs in to it: from newcomer to trader with one click. */
export function DemoButton({ class: extra = "" }: { class?: string }) {
  const busy = useSignal(false);
  const start = async (): Promise<void> => {
    busy.value = true;
    try {
      await startDemo();
      authDialog.value = null;
      notify("good", "Your demo account is ready", "Its name and password are in the account menu.");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      notify("bad", "No demo account could be made", error.message);
    } finally {
      busy.value = false;
    }
  };
  return (
    <button
      type="button"
      class={`button primary ${extra}`}
      disabled={busy.value}
      onClick={() => void start()}
    >
      {busy.value ? "Just a moment…" : "Try it with demo funds"}
    </button>
  );
}
