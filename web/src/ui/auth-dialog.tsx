import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { ApiError } from "../api/http";
import { authDialog, signIn, signUp } from "../state/session";
import { DemoButton } from "./demo-button";
import { CloseIcon, Mark } from "./icons";
import { Tabs } from "./tabs";

const TABS = [
  { id: "sign-in", name: "Sign in" },
  { id: "sign-up", name: "Create account" },
] as const;

/** Sign in and sign up. A native dialog: it traps the focus, closes on Escape and gives the focus back. */
export function AuthDialog() {
  const dialog = useRef<HTMLDialogElement>(null);
  const error = useSignal<string | null>(null);
  const busy = useSignal(false);
  const mode = authDialog.value;

  useEffect(() => {
    const element = dialog.current;
    if (!element) return;
    if (mode && !element.open) {
      error.value = null;
      element.showModal();
    } else if (!mode && element.open) {
      element.close();
    }
  }, [mode]);

  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const data = new FormData(form);
    const email = String(data.get("email") ?? "").trim();
    const password = String(data.get("password") ?? "");
    error.value = null;
    busy.value = true;
    try {
      await (mode === "sign-up" ? signUp : signIn)(email, password);
      form.reset();
      authDialog.value = null;
    } catch (failure) {
      if (!(failure instanceof ApiError)) throw failure;
      error.value = failure.message;
    } finally {
      busy.value = false;
    }
  };

  const title = mode === "sign-up" ? "Create account" : "Sign in";
  return (
    <dialog
      ref={dialog}
      class="dialog"
      aria-label={title}
      onClose={() => {
        authDialog.value = null;
      }}
      onMouseDown={(event) => {
        if (event.target === event.currentTarget) authDialog.value = null;
      }}
    >
      <div class="dialog-body">
        <div class="dialog-head">
          <Mark />
          <button
            type="button"
            class="icon-button"
            aria-label="Close"
            onClick={() => {
              authDialog.value = null;
            }}
          >
            <CloseIcon />
          </button>
        </div>
        <Tabs
          label="Account"
          class="tabs wide"
          tabs={TABS}
          selected={mode ?? "sign-in"}
          onSelect={(id) => {
            error.value = null;
            authDialog.value = id;
          }}
        />
        <form onSubmit={(event) => void submit(event)}>
          <label class="field">
            <span>Email</span>
            <input name="email" type="email" autocomplete="email" required />
          </label>
          <label class="field">
            <span>Password</span>
            <input
              name="password"
              type="password"
              autocomplete={mode === "sign-up" ? "new-password" : "current-password"}
              required
            />
          </label>
          <p class="form-error" role="alert">
            {error.value}
          </p>
          <button type="submit" class="button primary block" disabled={busy.value}>
            {busy.value ? "Just a moment…" : title}
          </button>
        </form>
        <div class="or">or</div>
        <DemoButton class="block quiet" />
        <p class="hint">No email needed: a throw-away account with play money.</p>
      </div>
    </dialog>
  );
}
