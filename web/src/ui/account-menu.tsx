import { mayRun } from "../admin/roles";
import { authDialog, demoToReturnTo, isDemo, session, signingOut, signOut } from "../state/session";
import { ChevronIcon, UserIcon } from "./icons";
import { Link } from "./link";
import { Popover } from "./popover";
import { Copyable } from "./sheet";

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
  const demo = isDemo.value ? demoToReturnTo.value : null;
  const name = isDemo.value ? "Demo account" : current.user.email;
  return (
    <Popover
      label="Account"
      buttonClass="button ghost account-button"
      panelClass="account-panel"
      button={
        <>
          <UserIcon />
          <span class="account-name">{signingOut.value ? "Signing out…" : name}</span>
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
          <nav class="menu" aria-label="Your account">
            <Link to="/settings/profile" onGone={close}>
              Settings
            </Link>
            <Link to="/settings/keys" onGone={close}>
              API keys
            </Link>
            {mayRun(current.user.role) && (
              <Link to="/admin" onGone={close}>
                Administration
              </Link>
            )}
          </nav>
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
