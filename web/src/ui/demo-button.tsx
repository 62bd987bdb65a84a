import { useSignal } from "@preact/signals";
import { ApiError } from "../api/http";
import { authDialog, demoAwaitingCode, demoToReturnTo, returnToDemo, startDemo } from "../state/session";
import { notify } from "../state/toasts";
import { demoFunds } from "../state/venue";
import { Sure } from "./sure";

/** Whether there is anything for [`DemoButton`] to offer. */
export function offersDemo(): boolean {
  return demoFunds.value === true || demoToReturnTo.value !== null;
}

/** From newcomer to trader with one click: into a new demo account, or back into the one that was made here. */
export function DemoButton({ class: extra = "" }: { class?: string }) {
  const busy = useSignal(false);
  const go = async (way: () => Promise<void>, fault: string): Promise<boolean> => {
    busy.value = true;
    try {
      await way();
      // Unless it asks for a code yet.
      if (!demoAwaitingCode.peek()) authDialog.value = null;
      return true;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      notify("bad", fault, error.message);
      return false;
    } finally {
      busy.value = false;
    }
  };
  const start = async (): Promise<void> => {
    if (await go(startDemo, "No demo account could be made")) {
      notify("good", "Your demo account is ready", "Its name and password are in the account menu.");
    }
  };
  const button = (name: string, onClick: () => Promise<unknown>) => (
    <button
      type="button"
      class={`button primary ${extra}`}
      disabled={busy.value}
      onClick={() => void onClick()}
    >
      {busy.value ? "Just a moment…" : name}
    </button>
  );
  const kept = demoToReturnTo.value;
  if (!kept) return demoFunds.value ? button("Try it with demo funds", start) : null;
  return (
    <div class="demo-ways">
      {button("Sign in to your demo account", () => go(returnToDemo, "You were not signed in"))}
      {demoFunds.value && (
        <Sure
          name="Begin a new one"
          ask="Forget the old one"
          about={`The password of ${kept.email} is kept in this browser alone: whoever begins anew cannot go back.`}
          disabled={busy.value}
          onSure={() => void start()}
        />
      )}
    </div>
  );
}
