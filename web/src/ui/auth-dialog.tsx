import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { ApiError, api } from "../api/http";
import { useLoaded } from "../state/asking";
import {
  authDialog,
  demoAwaitingCode,
  finishWithCode,
  providerAddress,
  secondFactorTicket,
  signIn,
  signUp,
} from "../state/session";
import { notify } from "../state/toasts";
import { demoFunds } from "../state/venue";
import { DemoButton, offersDemo } from "./demo-button";
import { CloseIcon, Mark } from "./icons";
import { Tabs } from "./tabs";

const TABS = [
  { id: "sign-in", name: "Sign in" },
  { id: "sign-up", name: "Create account" },
] as const;

/** What the dialog asks for. Each step keeps what the steps before it have learned. */
type Step =
  | { at: "password" }
  | { at: "code"; email: string; password: string }
  | { at: "ticket"; ticket: string }
  | { at: "forgot" }
  | { at: "reset"; email: string };

/** Sign in and sign up. A native dialog: it traps the focus, closes on Escape and gives the focus back. */
export function AuthDialog() {
  const dialog = useRef<HTMLDialogElement>(null);
  const error = useSignal<string | null>(null);
  const busy = useSignal(false);
  const step = useSignal<Step>({ at: "password" });
  const mode = authDialog.value;
  const ticket = secondFactorTicket.value;
  const demo = demoAwaitingCode.value;

  useEffect(() => {
    const element = dialog.current;
    if (!element) return;
    // A way in that asks for a code leads to it, also when the dialog is open already.
    if (mode && (!element.open || demo)) {
      error.value = null;
      if (demo) step.value = { at: "code", ...demo };
      else step.value = ticket ? { at: "ticket", ticket } : { at: "password" };
      if (!element.open) element.showModal();
    } else if (!mode && element.open) {
      element.close();
    }
  }, [mode, ticket, demo]);

  const close = (): void => {
    authDialog.value = null;
    secondFactorTicket.value = null;
    demoAwaitingCode.value = null;
  };

  const advance = async (data: FormData): Promise<void> => {
    const text = (name: string) => String(data.get(name) ?? "");
    const now = step.value;
    switch (now.at) {
      case "password": {
        const [email, password] = [text("email").trim(), text("password")];
        if (mode === "sign-up") {
          await signUp(email, password);
          return close();
        }
        try {
          await signIn(email, password);
        } catch (failure) {
          if (!(failure instanceof ApiError) || failure.code !== "second_factor_required") throw failure;
          step.value = { at: "code", email, password };
          return;
        }
        return close();
      }
      case "code":
        await signIn(now.email, now.password, text("code").trim());
        return close();
      case "ticket":
        await finishWithCode(now.ticket, text("code").trim());
        return close();
      case "forgot": {
        const email = text("email").trim();
        await api.forgotPassword(email);
        step.value = { at: "reset", email };
        return;
      }
      case "reset":
        await api.resetPassword(now.email, text("code").trim(), text("password"));
        notify("good", "Your password was set", "Sign in with it now.");
        step.value = { at: "password" };
        return;
    }
  };

  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    error.value = null;
    busy.value = true;
    try {
      await advance(new FormData(form));
      form.reset();
    } catch (failure) {
      if (!(failure instanceof ApiError)) throw failure;
      error.value = failure.message;
    } finally {
      busy.value = false;
    }
  };

  const at = step.value.at;
  const title = {
    password: mode === "sign-up" ? "Create account" : "Sign in",
    code: "Sign in",
    ticket: "Sign in",
    forgot: "Send me a code",
    reset: "Set the password",
  }[at];
  return (
    <dialog
      ref={dialog}
      class="dialog"
      aria-label={title}
      onClose={close}
      onMouseDown={(event) => {
        if (event.target === event.currentTarget) close();
      }}
    >
      <div class="dialog-body">
        <div class="dialog-head">
          <Mark />
          <button type="button" class="icon-button" aria-label="Close" onClick={close}>
            <CloseIcon />
          </button>
        </div>
        {at === "password" && (
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
        )}
        <form key={at} onSubmit={(event) => void submit(event)}>
          {at === "forgot" && <p>A code is mailed to you, with which you set a new password.</p>}
          {at === "reset" && <p>If that address has an account, a code is on its way to it.</p>}
          {(at === "password" || at === "forgot") && (
            <label class="field">
              <span>Email</span>
              <input name="email" type="email" autocomplete="email" required />
            </label>
          )}
          {(at === "code" || at === "ticket") && (
            <>
              <p>Two-factor authentication is on for this account.</p>
              <CodeField label="The code of your authenticator, or a recovery code" />
            </>
          )}
          {at === "reset" && <CodeField label="The code from the mail" />}
          {(at === "password" || at === "reset") && (
            <label class="field">
              <span>{at === "reset" ? "New password" : "Password"}</span>
              <input
                name="password"
                type="password"
                autocomplete={mode === "sign-up" || at === "reset" ? "new-password" : "current-password"}
                required
              />
            </label>
          )}
          <p class="form-error" role="alert">
            {error.value}
          </p>
          <button type="submit" class="button primary block" disabled={busy.value}>
            {busy.value ? "Just a moment…" : title}
          </button>
        </form>
        {at === "password" && mode === "sign-in" && (
          <p class="hint">
            <button
              type="button"
              class="link"
              onClick={() => {
                error.value = null;
                step.value = { at: "forgot" };
              }}
            >
              Forgot your password?
            </button>
          </p>
        )}
        {at === "password" ? (
          <OtherWays />
        ) : (
          <p class="hint">
            <button
              type="button"
              class="link"
              onClick={() => {
                error.value = null;
                secondFactorTicket.value = null;
                demoAwaitingCode.value = null;
                step.value = { at: "password" };
              }}
            >
              Back
            </button>
          </p>
        )}
      </div>
    </dialog>
  );
}

/** A field for a code that takes the focus, since it appears where another one was. */
function CodeField({ label }: { label: string }) {
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.focus(), []);
  return (
    <label class="field">
      <span>{label}</span>
      <input ref={field} name="code" autocomplete="one-time-code" required />
    </label>
  );
}

/** Ways in without a password of ours, where the server has some. */
function OtherWays() {
  const providers = useLoaded(api.providers);
  const known = providers.data.value ?? [];
  if (known.length === 0 && !offersDemo()) return null;
  return (
    <>
      <div class="or">or</div>
      {known.map((provider) => (
        <a key={provider.id} class="button block provider" href={providerAddress(provider.id)}>
          Continue with {provider.name}
        </a>
      ))}
      <DemoButton class="block quiet" />
      {demoFunds.value && <p class="hint">No email needed: a throw-away account with play money.</p>}
    </>
  );
}
