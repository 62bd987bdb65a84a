import { authDialog, demoCredentials, isDemo, session, signOut } from "../state/session";
import { notify } from "../state/toasts";
import { ChevronIcon, CopyIcon, UserIcon } from "./icons";
import { Popover } from "./popover";

/** Sign in and sign up, or the signed-in user with the way out. */
export function AccountMenu() {
  const current = session.value;
  if (!current) {
    return (
      <div class="auth-buttons">
        <button
          type="button"
          class="button ghost"
          onClick={() => {
            authDialog.value = "sign-in";
          }}
        >
          Sign in
        </button>
        <button
          type="button"
          class="button primary sign-up"
          onClick={() => {
            authDialog.value = "sign-up";
          }}
        >
          Sign up
        </button>
      </div>
    );
  }
  const demo = isDemo.value ? demoCredentials.value : null;
  return (
    <Popover
      label="Account"
      buttonClass="button ghost account-button"
      panelClass="account-panel"
      button={
        <>
          <UserIcon />
          <span class="account-name">{demo ? "Demo account" : current.user.email}</span>
          <ChevronIcon />
        </>
      }
    >
      {(close) => (
        <>
          <p class="account-email">{current.user.email}</p>
          {demo && (
            <div class="credentials">
              <p>A throw-away account with play money. Keep these to sign in from elsewhere:</p>
              <Copyable name="Email" value={demo.email} />
              <Copyable name="Password" value={demo.password} />
            </div>
          )}
          <button
            type="button"
            class="button block"
            onClick={() => {
              close();
              void signOut();
            }}
          >
            Sign out
          </button>
        </>
      )}
    </Popover>
  );
}

function Copyable({ name, value }: { name: string; value: string }) {
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(value);
      notify("plain", `${name} copied`);
    } catch {
      notify("plain", `${name} could not be copied`, "Select the text and copy it by hand.");
    }
  };
  return (
    <div class="copyable">
      <span>{name}</span>
      <code>{value}</code>
      <button
        type="button"
        class="icon-button"
        aria-label={`Copy the ${name.toLowerCase()}`}
        onClick={() => void copy()}
      >
        <CopyIcon />
      </button>
    </div>
  );
}
